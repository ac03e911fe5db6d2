//! How it looks where the entry fails a request: pages of whoever runs it, by status or by class of statuses.

use std::{collections::BTreeMap, str::FromStr, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Response, header::CONTENT_TYPE};

/// The largest page, in bytes. More is a mistake: it is kept in memory.
pub const PAGE_LEN_MAX: usize = 1024 * 1024;

/// What a page is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    /// One status.
    Status(u16),
    /// All statuses of a class that have no page of their own, by its first digit.
    Class(u16),
}

/// Text that is neither a status nor a class of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a status from 400 to 599, `4xx` or `5xx`")]
pub struct BadWhich;

impl FromStr for Which {
    type Err = BadWhich;

    fn from_str(text: &str) -> Result<Self, BadWhich> {
        match text {
            "4xx" => Ok(Self::Class(4)),
            "5xx" => Ok(Self::Class(5)),
            _ => {
                let status = text.parse().map_err(|_| BadWhich)?;
                if !(400..600).contains(&status) {
                    return Err(BadWhich);
                }
                Ok(Self::Status(status))
            }
        }
    }
}

/// A page as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    kind: HeaderValue,
    body: Bytes,
}

impl Page {
    /// A page from a file whose name ends with `ending`, which says what it is.
    pub fn new(ending: &str, body: impl Into<Bytes>) -> Self {
        Self {
            kind: HeaderValue::from_static(match ending {
                "html" | "htm" => "text/html; charset=utf-8",
                "json" => "application/json",
                "xml" => "application/xml",
                _ => "text/plain; charset=utf-8",
            }),
            body: body.into(),
        }
    }
}

/// Pages, by what they are for. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pages(Arc<BTreeMap<Which, Page>>);

impl Pages {
    /// These pages.
    pub fn new(pages: BTreeMap<Which, Page>) -> Self {
        Self(Arc::new(pages))
    }

    /// These, and where there is none those of `others`.
    #[must_use]
    pub fn over(&self, others: &Self) -> Self {
        if self.0.is_empty() {
            return others.clone();
        }
        let mut all = BTreeMap::clone(&others.0);
        all.extend(self.0.iter().map(|(which, page)| (*which, page.clone())));
        Self::new(all)
    }

    /// Puts the page for its status in the place of a response's body.
    pub fn dress(&self, response: &mut Response<Bytes>) {
        let status = response.status().as_u16();
        let page = self.0.get(&Which::Status(status));
        let Some(page) = page.or_else(|| self.0.get(&Which::Class(status / 100))) else {
            return;
        };
        *response.body_mut() = page.body.clone();
        response.headers_mut().insert(CONTENT_TYPE, page.kind.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(of: &[(&str, &str)]) -> Pages {
        let page =
            |(which, text): &(&str, &str)| (which.parse().unwrap(), Page::new("html", text.to_string()));
        Pages::new(of.iter().map(page).collect())
    }

    #[test]
    fn a_page_is_for_a_status_or_for_its_class() {
        let pages =
            pages(&[("404", "four"), ("5xx", "five+")]).over(&pages(&[("404", "x"), ("4xx", "any+")]));
        for (status, len) in [(404, 4), (400, 4), (502, 5), (301, 0)] {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
            pages.dress(&mut response);
            assert_eq!(response.body().len(), len, "{status}");
            assert_eq!(response.headers().contains_key(CONTENT_TYPE), len > 0);
        }
        for bad in ["3xx", "200", "600", "", "html"] {
            assert_eq!(bad.parse::<Which>(), Err(BadWhich));
        }
    }
}

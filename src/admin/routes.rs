//! What may be asked for, and how.

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Everything the node counts.
    Metrics,
    /// Whether the process runs.
    Health,
    /// Whether it can serve a visitor.
    Ready,
    /// Nothing that is here.
    Unknown,
    /// Something that is here, in a way that is not for it.
    WrongMethod,
}

/// Every path, and what it leads to.
const PATHS: [(&str, Route); 3] = [
    ("/metrics", Route::Metrics),
    ("/healthz", Route::Health),
    ("/readyz", Route::Ready),
];

/// What `method` on `path` asks for. Paths are compared as they are.
pub fn route(method: &str, path: &str) -> Route {
    match PATHS.iter().find(|(known, _)| *known == path) {
        None => Route::Unknown,
        Some((_, route)) if matches!(method, "GET" | "HEAD") => *route,
        Some(_) => Route::WrongMethod,
    }
}

/// The paths there are, for someone who asked for another.
pub fn paths() -> String {
    let paths: Vec<_> = PATHS.iter().map(|(path, _)| *path).collect();
    paths.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_its_answer() {
        let check = |method, path, expected| assert_eq!(route(method, path), expected, "{method} {path}");
        check("GET", "/metrics", Route::Metrics);
        check("HEAD", "/metrics", Route::Metrics);
        check("GET", "/healthz", Route::Health);
        check("GET", "/readyz", Route::Ready);
        check("POST", "/metrics", Route::WrongMethod);
        check("GET", "/", Route::Unknown);
        check("POST", "/nothing", Route::Unknown);
        check("GET", "/metrics/", Route::Unknown);
    }
}

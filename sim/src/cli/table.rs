//! Tables that read well on a terminal and are Markdown.

use std::fmt;

/// A table. Columns of numbers are aligned to the right.
#[derive(Clone, Debug)]
pub struct Table {
    /// The first is the head.
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these columns.
    pub fn new(head: &[&str]) -> Self {
        Self {
            rows: vec![head.iter().map(|cell| (*cell).to_owned()).collect()],
        }
    }

    /// Adds a row, with a cell for each column.
    pub fn row(&mut self, cells: &[&dyn fmt::Display]) {
        debug_assert_eq!(cells.len(), self.rows[0].len());
        self.rows.push(
            cells
                .iter()
                .map(|cell| cell.to_string().replace('|', "\\|"))
                .collect(),
        );
    }

    fn width(&self, column: usize) -> usize {
        let widths = self.rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0).max(3)
    }

    fn is_numeric(&self, column: usize) -> bool {
        let numeric =
            |cell: &str| !cell.is_empty() && cell.chars().all(|c| c.is_ascii_digit() || ".%".contains(c));
        self.rows.len() > 1 && self.rows[1..].iter().all(|row| numeric(&row[column]))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = 0..self.rows[0].len();
        let shapes: Vec<_> = columns.map(|n| (self.width(n), self.is_numeric(n))).collect();
        for (n, row) in self.rows.iter().enumerate() {
            for (cell, (width, numeric)) in row.iter().zip(&shapes) {
                if *numeric {
                    write!(f, "| {cell:>width$} ")?;
                } else {
                    write!(f, "| {cell:<width$} ")?;
                }
            }
            writeln!(f, "|")?;
            if n == 0 {
                for (width, numeric) in &shapes {
                    let (dashes, end) = (width - usize::from(*numeric), if *numeric { ":" } else { "" });
                    write!(f, "| {}{end} ", "-".repeat(dashes))?;
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

/// A part of a whole, in percent.
pub fn share(part: u64, whole: u64) -> String {
    if part == 0 {
        // Next to nothing is told from nothing.
        return "0%".to_owned();
    }
    match 100.0 * part as f64 / whole.max(1) as f64 {
        small if small < 10.0 => format!("{small:.1}%"),
        large => format!("{large:.0}%"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_is_markdown() {
        let mut table = Table::new(&["name", "n"]);
        table.row(&[&"a", &7]);
        table.row(&[&"b | c", &"1.5%"]);
        let expected = "\
| name   |    n |
| ------ | ---: |
| a      |    7 |
| b \\| c | 1.5% |
";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn a_share_tells_little_from_nothing() {
        let check = |part, whole, expected: &str| assert_eq!(share(part, whole), expected);
        check(0, 10, "0%");
        check(1, 1000, "0.1%");
        check(1, 3, "33%");
        check(10, 10, "100%");
    }
}

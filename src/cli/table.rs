//! Text tables.

/// On which side the cells of a column are aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// Rows of cells, printed in aligned columns below their headings.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(String, Side)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[(&'static str, Side)]) -> Table {
        Table::of(
            columns
                .iter()
                .map(|(name, side)| ((*name).to_owned(), *side)),
        )
    }

    /// With headings that are not known beforehand.
    pub(crate) fn of(columns: impl IntoIterator<Item = (String, Side)>) -> Table {
        Table {
            columns: columns.into_iter().collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table, each line beginning with `indent`.
    pub(crate) fn render(&self, indent: &str) -> String {
        let length = |cell: Option<&String>| cell.map_or(0, |cell| cell.chars().count());
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| {
                let cells = self.rows.iter().map(|row| length(row.get(column)));
                let head = self
                    .columns
                    .get(column)
                    .map_or(0, |(name, _)| name.chars().count());
                cells.max().unwrap_or_default().max(head)
            })
            .collect();
        let heads: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        let lines = [&heads, &rules].into_iter().chain(&self.rows);
        lines
            .map(|cells| self.line(indent, cells, &widths))
            .collect()
    }

    fn line(&self, indent: &str, cells: &[String], widths: &[usize]) -> String {
        let mut line = indent.to_owned();
        for ((cell, width), (_, side)) in cells.iter().zip(widths).zip(&self.columns) {
            match side {
                Side::Left => line.push_str(&format!("{cell:<width$}  ")),
                Side::Right => line.push_str(&format!("{cell:>width$}  ")),
            }
        }
        format!("{}\n", line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&[("name", Side::Left), ("n", Side::Right)]);
        table.row(["a".to_owned(), "100".to_owned()]);
        table.row(["long one".to_owned(), "7".to_owned()]);
        let lines = [
            "  name        n",
            "  --------  ---",
            "  a         100",
            "  long one    7",
            "",
        ];
        assert_eq!(table.render("  "), lines.join("\n"));
    }
}

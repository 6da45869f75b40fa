//! One table, printed for a terminal, as Markdown and as JSON.

use serde_json::{Map, Value};

/// A table whose first column is text and whose others are figures.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<Cell>>,
    /// A line of explanation below.
    pub(crate) note: String,
}

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Text(String),
    /// A figure and how many decimals of it mean something.
    Figure(f64, usize),
    /// A figure with its unit's own sign: `0.24 ×`.
    Ratio(f64),
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Figure(figure, _) | Self::Ratio(figure) if !figure.is_finite() => "–".to_owned(),
            Self::Figure(figure, decimals) => format!("{figure:.decimals$}"),
            Self::Ratio(ratio) => format!("{ratio:.2} ×"),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Text(text) => Value::from(text.as_str()),
            Self::Figure(figure, _) | Self::Ratio(figure) => Value::from(*figure),
        }
    }
}

impl Table {
    /// Columns aligned by spaces, text to the left and figures to the right.
    pub(crate) fn terminal(&self) -> String {
        let shown: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(Cell::shown).collect()).collect();
        let width = |column: usize| {
            let cells = shown.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([self.columns[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut out = format!("{}\n", self.title);
        let header: Vec<String> = self.columns.iter().map(|&name| name.to_owned()).collect();
        for row in std::iter::once(&header).chain(&shown) {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            out += "  ";
            out += cells.collect::<Vec<_>>().join("  ").trim_end();
            out.push('\n');
        }
        if !self.note.is_empty() {
            out += &format!("  {}\n", self.note);
        }
        out
    }

    /// A GitHub table.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut out = format!("**{}**\n\n", self.title);
        out += &line(self.columns.iter().map(|&name| name.to_owned()).collect());
        let rules = (0..self.columns.len()).map(|column| if column == 0 { "---" } else { "--:" }.to_owned());
        out += &line(rules.collect());
        for row in &self.rows {
            out += &line(row.iter().map(|cell| cell.shown().replace('|', "\\|")).collect());
        }
        if !self.note.is_empty() {
            out += &format!("\n{}\n", self.note);
        }
        out
    }

    /// `{"title": …, "rows": [{column: value}]}`.
    pub(crate) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let cells = self.columns.iter().zip(row).map(|(&name, cell)| (name.to_owned(), cell.json()));
            Value::Object(cells.collect::<Map<_, _>>())
        });
        serde_json::json!({"title": self.title, "note": self.note, "rows": rows.collect::<Vec<_>>()})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_table_three_ways() {
        let table = Table {
            title: "t".into(),
            columns: vec!["what", "s", "ratio"],
            rows: vec![
                vec![Cell::text("a|b"), Cell::Figure(1.234, 1), Cell::Ratio(0.5)],
                vec![Cell::text("long name"), Cell::Figure(f64::INFINITY, 1), Cell::Ratio(10.0)],
            ],
            note: "n".into(),
        };
        assert_eq!(
            table.terminal(),
            "t\n  what         s    ratio\n  a|b        1.2   0.50 ×\n  long name    –  10.00 ×\n  n\n"
        );
        assert_eq!(
            table.markdown(),
            "**t**\n\n| what | s | ratio |\n| --- | --: | --: |\n| a\\|b | 1.2 | 0.50 × |\n| long name | – | 10.00 × |\n\nn\n"
        );
        assert_eq!(table.json()["rows"][0], serde_json::json!({"what": "a|b", "s": 1.234, "ratio": 0.5}));
        assert_eq!(table.json()["rows"][1]["s"], Value::Null);
    }
}

//! Tables that read well as text and as Markdown.

/// Lays out `rows`, the first of which is the head; all have as many cells as that.
pub fn markdown(rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len))
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let line = |row: &[String]| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule =
        format!("|{}|\n", widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|"));
    let mut lines = rows.iter().map(|row| line(row));
    lines.next().unwrap_or_default() + &rule + &lines.collect::<String>()
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".to_owned(), "ratio".to_owned()], vec!["12–3".to_owned(), String::new()]];
        assert_eq!(super::markdown(&rows), "| a    | ratio |\n|------|-------|\n| 12–3 |       |\n");
    }
}

//! Columns that line up: the first to the left, the others as told; two spaces between.

/// Where a column's text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// `rows` below `head`, each line indented by two spaces except the head.
pub(super) fn table(head: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        let indent = if column == 0 { 2 } else { 0 };
        head[column].0.chars().count().max(widest + indent)
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for ((cell, width), (_, align)) in cells.zip(&widths).zip(head) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            line.push_str(&match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            });
        }
        format!("{}\n", line.trim_end())
    };
    let mut text = line(&mut head.iter().map(|(name, _)| *name));
    for row in rows {
        let first = format!("  {}", row.first().map_or("", String::as_str));
        let rest = row.iter().skip(1).map(String::as_str);
        text.push_str(&line(&mut std::iter::once(&*first).chain(rest)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_text_in_letters() {
        let rows = [
            vec!["a".to_owned(), "1".to_owned(), "x".to_owned()],
            vec!["bcd".to_owned(), "20 µs".to_owned()],
        ];
        let head = [
            ("name", Align::Left),
            ("p50", Align::Right),
            ("end", Align::Left),
        ];
        assert_eq!(
            table(&head, &rows),
            "name     p50  end\n  a        1  x\n  bcd  20 µs\n"
        );
    }
}

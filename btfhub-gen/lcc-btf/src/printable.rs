//! Text on a terminal or in a log that holds names from outside: of files, of package members, of types.

use std::fmt::{Display, Write};

/// The text, with its control characters escaped: a name with a newline does not make two lines of one message, and one with
/// an escape sequence does not paint the terminal.
pub fn printable(text: impl Display) -> String {
    let text = text.to_string();
    if !text.contains(char::is_control) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            c if c.is_control() => write!(escaped, "{}", c.escape_default()).unwrap_or_default(),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_others_are_not() {
        assert_eq!(printable("schön ×\\n"), "schön ×\\n");
        assert_eq!(printable("a\nb\t\u{1b}[31m\u{9b}"), "a\\nb\\t\\u{1b}[31m\\u{9b}");
    }
}

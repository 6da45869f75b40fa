//! What a terminal shows: as much of one as the live view asks of it.

/// A terminal of `height` lines of `width` columns.
#[derive(Clone, Debug)]
pub(crate) struct Screen {
    width: usize,
    height: usize,
    cells: Vec<Vec<char>>,
    line: usize,
    column: usize,
    /// The other screen is shown, not the one with the shell's lines.
    pub(crate) is_alternate: bool,
    pub(crate) is_cursor_shown: bool,
    /// Sequences that are not known.
    pub(crate) unknown: Vec<String>,
    /// An escape sequence as far as it has come.
    sequence: String,
}

impl Screen {
    pub(crate) fn new(width: usize, height: usize) -> Screen {
        Screen {
            width,
            height,
            cells: vec![vec![' '; width]; height],
            line: 0,
            column: 0,
            is_alternate: false,
            is_cursor_shown: true,
            unknown: Vec::new(),
            sequence: String::new(),
        }
    }

    /// The terminal's window has another size now: it keeps what fits.
    pub(crate) fn resize(&mut self, width: usize, height: usize) {
        self.cells.iter_mut().for_each(|line| line.resize(width, ' '));
        self.cells.resize(height, vec![' '; width]);
        (self.width, self.height) = (width, height);
        (self.line, self.column) = (self.line.min(height - 1), self.column.min(width - 1));
    }

    pub(crate) fn write(&mut self, text: &str) {
        text.chars().for_each(|c| self.take(c));
    }

    /// Its lines, without blanks behind.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.cells.iter().map(|line| line.iter().collect::<String>().trim_end().to_owned()).collect()
    }

    fn take(&mut self, c: char) {
        if !self.sequence.is_empty() {
            self.sequence.push(c);
            let is_begun = self.sequence == "\x1b[";
            if !is_begun && !c.is_ascii_digit() && !matches!(c, '?' | ';') {
                let sequence = std::mem::take(&mut self.sequence);
                self.control(&sequence);
            }
            return;
        }
        match c {
            '\x1b' => self.sequence.push(c),
            '\r' => self.column = 0,
            '\n' if self.line + 1 == self.height => {
                self.cells.remove(0);
                self.cells.push(vec![' '; self.width]);
            }
            '\n' => self.line += 1,
            c if c.is_control() => self.unknown.push(c.escape_debug().to_string()),
            c => {
                // behind the last column it goes on in the next line
                if self.column == self.width {
                    self.column = 0;
                    self.take('\n');
                }
                self.cells[self.line][self.column] = c;
                self.column += 1;
            }
        }
    }

    /// ECMA-48, and xterm's private modes 25 and 1049.
    fn control(&mut self, sequence: &str) {
        match sequence {
            "\x1b[H" => (self.line, self.column) = (0, 0),
            "\x1b[K" => self.cells[self.line][self.column..].fill(' '),
            "\x1b[J" => {
                self.cells[self.line][self.column..].fill(' ');
                self.cells[self.line + 1..].iter_mut().for_each(|line| line.fill(' '));
            }
            "\x1b[?25l" => self.is_cursor_shown = false,
            "\x1b[?25h" => self.is_cursor_shown = true,
            "\x1b[?1049h" => {
                self.is_alternate = true;
                self.cells.iter_mut().for_each(|line| line.fill(' '));
            }
            "\x1b[?1049l" => self.is_alternate = false,
            other => self.unknown.push(other.escape_debug().to_string()),
        }
    }
}

#[test]
fn a_screen_holds_what_was_written() {
    let mut screen = Screen::new(6, 3);
    screen.write("\x1b[?1049h\x1b[?25l\x1b[Habcdefgh\r\nij\x1b[Hxy\x1b[K\r\nz\x1b[J");
    assert_eq!(screen.lines(), ["xy", "z", ""]);
    assert!(screen.is_alternate && !screen.is_cursor_shown);
    screen.write("\r\n1\r\n2\r\n3\x1b[?25h\x1b[?1049l\x1b[5m");
    assert_eq!(screen.lines(), ["1", "2", "3"]);
    assert!(!screen.is_alternate && screen.is_cursor_shown);
    assert_eq!(screen.unknown, ["\\u{1b}[5m"]);
    screen.resize(1, 4);
    assert_eq!(screen.lines(), ["1", "2", "3", ""]);
}

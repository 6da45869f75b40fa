//! What older encoders did otherwise, as changes to the description of a type: after them it is what those wrote.

/// One such habit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Habit {
    /// `[4][2][5]` as `[40]`, before pahole 1.32.
    FlatArrays,
    /// Enumerators without a sign and cut to 32 bits, before ENUM64 (pahole 1.24).
    CutEnumerators,
    /// Floating-point numbers as integers, before FLOAT (pahole 1.21).
    FloatsAsIntegers,
    /// `char` and `signed char` without their sign.
    UnsignedChar,
    /// Declarations left where one definition of that name is elsewhere, before libbpf resolved them (pahole 1.25).
    Declared,
}

pub(crate) const HABITS: [Habit; 5] =
    [Habit::FlatArrays, Habit::CutEnumerators, Habit::FloatsAsIntegers, Habit::UnsignedChar, Habit::Declared];

impl Habit {
    /// The letter of `docs/btf-differences.md`.
    pub(crate) fn letter(self) -> char {
        match self {
            Self::FlatArrays => 'A',
            Self::CutEnumerators => 'E',
            Self::FloatsAsIntegers => 'F',
            Self::UnsignedChar => 'C',
            Self::Declared => 'D',
        }
    }

    /// The description that this habit leaves of both encoders' types.
    pub(crate) fn apply(self, block: &str) -> String {
        match self {
            Self::FlatArrays => flatten_arrays(block),
            Self::CutEnumerators => cut_enumerators(block),
            Self::FloatsAsIntegers => float_as_integer(block),
            Self::Declared => block.replace(" (declared)", ""),
            Self::UnsignedChar => {
                block.replace("char: 1 bytes, 8 bits, encoding 1", "char: 1 bytes, 8 bits, encoding 0")
            }
        }
    }
}

fn flatten_arrays(block: &str) -> String {
    let (mut out, mut rest) = (String::new(), block);
    while let Some(start) = rest.find('[') {
        out += &rest[..start];
        rest = &rest[start..];
        let mut product: Option<u64> = None;
        while let Some((digits, after)) = rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
            let Ok(count) = digits.parse::<u64>() else { break };
            product = Some(product.unwrap_or(1) * count);
            rest = after;
        }
        match product {
            Some(product) => out += &format!("[{product}]"),
            None => {
                out.push('[');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

fn cut_enumerators(block: &str) -> String {
    let mut parts = block.split(" = ");
    let first = parts.next().unwrap_or_default().to_owned();
    let cut = parts.fold(first, |out, part| {
        let end = part.find([';', '\n', ' ']).unwrap_or(part.len());
        match part[..end].parse::<i128>() {
            Ok(value) => format!("{out} = {}{}", value & 0xffff_ffff, &part[end..]),
            Err(_) => format!("{out} = {part}"),
        }
    });
    cut.replace(" bytes enum64", " bytes").replace(" bytes signed", " bytes")
}

/// `float double: 8 bytes`; how integers of that kind were encoded is of no account.
fn float_as_integer(block: &str) -> String {
    match block.strip_prefix("float ").map(str::to_owned) {
        Some(float) => format!("int {float}"),
        None if block.starts_with("int ") && ["float", "double"].iter().any(|name| block.contains(name)) => {
            block.split(',').next().unwrap_or_default().to_owned()
        }
        None => block.to_owned(),
    }
}

#[test]
fn habits() {
    #[track_caller]
    fn check(habit: Habit, ours: &str, expected: &str) {
        assert_eq!(habit.apply(ours), expected);
    }
    check(Habit::FlatArrays, "0 a: [4][2][5]int; [x] [3]*[2]char", "0 a: [40]int; [x] [3]*[2]char");
    check(
        Habit::CutEnumerators,
        "enum e\n    4 bytes signed\n    A = -1\n    B = 0",
        "enum e\n    4 bytes\n    A = 4294967295\n    B = 0",
    );
    check(Habit::CutEnumerators, "enum { 8 bytes enum64; A = 4294967297 } x", "enum { 8 bytes; A = 1 } x");
    check(Habit::CutEnumerators, "typedef t = struct s", "typedef t = struct s");
    check(Habit::Declared, "0 a: *struct s (declared)", "0 a: *struct s");
    check(Habit::FloatsAsIntegers, "float double: 8 bytes", "int double: 8 bytes");
    check(Habit::FloatsAsIntegers, "int double: 8 bytes, 64 bits, encoding 0", "int double: 8 bytes");
    check(Habit::UnsignedChar, "int char: 1 bytes, 8 bits, encoding 1", "int char: 1 bytes, 8 bits, encoding 0");
}

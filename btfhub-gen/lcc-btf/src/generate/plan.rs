//! Which inputs a run works on.

use std::fmt;
use std::str::FromStr;

/// One of several machines that share the inputs: `i/n`, `i` from 0.
///
/// The inputs, in the order that [`expand`](crate::input::expand::expand) gives, are dealt out in turn: machine `i` takes
/// those whose number leaves `i` when divided by `n`. So the machines must be given the same arguments, and each input is
/// worked on by exactly one; nothing has to be read to know which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

/// A text that is no [`Shard`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a shard is i/n with 0 <= i < n, as 0/4 for the first of four")]
pub struct InvalidShard;

impl Shard {
    /// All of it.
    pub const WHOLE: Shard = Shard { index: 0, count: 1 };

    /// The part of `inputs` that is this machine's.
    pub fn of<T>(self, inputs: Vec<T>) -> Vec<T> {
        inputs.into_iter().skip(self.index).step_by(self.count).collect()
    }
}

impl FromStr for Shard {
    type Err = InvalidShard;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (index, count) = text.split_once('/').ok_or(InvalidShard)?;
        let number = |text: &str| text.parse::<usize>().map_err(|_| InvalidShard);
        let shard = Shard { index: number(index)?, count: number(count)? };
        if shard.index < shard.count { Ok(shard) } else { Err(InvalidShard) }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_input_is_in_one_shard() {
        for count in 1..7 {
            let mut all: Vec<u32> = Vec::new();
            for index in 0..count {
                let shard: Shard = format!("{index}/{count}").parse().unwrap();
                let part = shard.of((0..20).collect());
                assert!(part.len().abs_diff(20 / count) <= 1);
                all.extend(part);
            }
            all.sort();
            assert_eq!(all, (0..20).collect::<Vec<_>>());
        }
        assert_eq!("3/4".parse::<Shard>().unwrap().of(vec![0, 1]), Vec::<i32>::new());
    }

    #[test]
    fn what_is_no_shard_is_refused() {
        for text in ["", "1", "4/4", "0/0", "-1/2", "a/b", "1/2/3"] {
            assert_eq!(text.parse::<Shard>(), Err(InvalidShard), "{text}");
        }
    }
}

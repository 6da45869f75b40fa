//! Members, enumerators, parameters and variables, decoded while iterating over them.

use std::marker::PhantomData;

use crate::error::Result;
use crate::parse::Btf;
use crate::raw::{BitOffset, ByteOffset, ByteSize, Endian, StrOffset, TypeId};
use crate::types::{EnumValue, Member, Param, SecVar};

/// What all elements are decoded from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) btf: &'a Btf<'a>,
    pub(crate) payload: &'a [u8],
    pub(crate) flag: bool,
    pub(crate) endian: Endian,
}

/// Iterator over the elements of a type; each is decoded as it is reached.
#[derive(Clone, Debug)]
pub struct Elements<'a, T> {
    parts: Parts<'a>,
    front: usize,
    back: usize,
    element: PhantomData<T>,
}

/// Members of a struct or union.
pub type Members<'a> = Elements<'a, Member<'a>>;
/// Parameters of a prototype.
pub type Params<'a> = Elements<'a, Param<'a>>;
/// Variables of a section.
pub type SecVars<'a> = Elements<'a, SecVar>;

/// Something that [`Elements`] can decode.
trait Element<'a>: Sized {
    const WORDS: usize;
    fn decode(parts: &Parts<'a>, word: impl Fn(usize) -> u32) -> Result<Self>;
}

#[allow(private_bounds, reason = "the set of element types is closed")]
impl<'a, T: Element<'a>> Elements<'a, T> {
    pub(crate) fn new(parts: Parts<'a>) -> Self {
        Elements { parts, front: 0, back: parts.payload.len() / (T::WORDS * 4), element: PhantomData }
    }

    /// Element `index` of those not yet iterated over.
    ///
    /// # Errors
    /// A bad name, as for [`Btf::str`]. The option is `None` beyond the last.
    pub fn get(&self, index: usize) -> Option<Result<T>> {
        let at = self.front.checked_add(index).filter(|&at| at < self.back)?;
        let word = |i: usize| self.parts.endian.u32_at(self.parts.payload, (at * T::WORDS + i) * 4).unwrap_or(0);
        Some(T::decode(&self.parts, word))
    }
}

#[allow(private_bounds, reason = "the set of element types is closed")]
impl<'a, T: Element<'a>> Iterator for Elements<'a, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.get(0)?;
        self.front += 1;
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.back - self.front;
        (left, Some(left))
    }

    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        self.front = self.front.saturating_add(n).min(self.back);
        self.next()
    }
}

impl<'a, T: Element<'a>> DoubleEndedIterator for Elements<'a, T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let item = self.get((self.back - self.front).checked_sub(1)?);
        self.back -= 1;
        item
    }
}

impl<'a, T: Element<'a>> ExactSizeIterator for Elements<'a, T> {}

impl<'a> Element<'a> for Member<'a> {
    const WORDS: usize = 3;
    fn decode(parts: &Parts<'a>, word: impl Fn(usize) -> u32) -> Result<Self> {
        let offset = word(2);
        let (offset, bitfield_size) = if parts.flag { (offset & 0x00ff_ffff, offset >> 24) } else { (offset, 0) };
        let name = parts.btf.str(StrOffset(word(0)))?;
        Ok(Member { name, ty: TypeId(word(1)), offset: BitOffset(offset), bitfield_size })
    }
}

impl<'a> Element<'a> for Param<'a> {
    const WORDS: usize = 2;
    fn decode(parts: &Parts<'a>, word: impl Fn(usize) -> u32) -> Result<Self> {
        Ok(Param { name: parts.btf.str(StrOffset(word(0)))?, ty: TypeId(word(1)) })
    }
}

impl<'a> Element<'a> for SecVar {
    const WORDS: usize = 3;
    fn decode(_: &Parts<'a>, word: impl Fn(usize) -> u32) -> Result<Self> {
        Ok(SecVar { ty: TypeId(word(0)), offset: ByteOffset(word(1)), size: ByteSize(word(2)) })
    }
}

#[derive(Clone, Copy, Debug)]
struct Narrow<'a>(EnumValue<'a>);

impl<'a> Element<'a> for Narrow<'a> {
    const WORDS: usize = 2;
    fn decode(parts: &Parts<'a>, word: impl Fn(usize) -> u32) -> Result<Self> {
        let value = if parts.flag { i128::from(word(1) as i32) } else { i128::from(word(1)) };
        Ok(Narrow(EnumValue { name: parts.btf.str(StrOffset(word(0)))?, value }))
    }
}

#[derive(Clone, Copy, Debug)]
struct Wide<'a>(EnumValue<'a>);

impl<'a> Element<'a> for Wide<'a> {
    const WORDS: usize = 3;
    fn decode(parts: &Parts<'a>, word: impl Fn(usize) -> u32) -> Result<Self> {
        let bits = u64::from(word(2)) << 32 | u64::from(word(1));
        let value = if parts.flag { i128::from(bits as i64) } else { i128::from(bits) };
        Ok(Wide(EnumValue { name: parts.btf.str(StrOffset(word(0)))?, value }))
    }
}

/// Enumerators of an enumeration of either width.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    narrow: Elements<'a, Narrow<'a>>,
    wide: Elements<'a, Wide<'a>>,
    is_wide: bool,
}

impl<'a> Values<'a> {
    pub(crate) fn new(parts: Parts<'a>, is_wide: bool) -> Self {
        Values { narrow: Elements::new(parts), wide: Elements::new(parts), is_wide }
    }

    /// Enumerator `index` of those not yet iterated over.
    ///
    /// # Errors
    /// A bad name, as for [`Btf::str`]. The option is `None` beyond the last.
    pub fn get(&self, index: usize) -> Option<Result<EnumValue<'a>>> {
        if self.is_wide {
            self.wide.get(index).map(|v| v.map(|v| v.0))
        } else {
            self.narrow.get(index).map(|v| v.map(|v| v.0))
        }
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Result<EnumValue<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_wide { self.wide.next().map(|v| v.map(|v| v.0)) } else { self.narrow.next().map(|v| v.map(|v| v.0)) }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.is_wide { self.wide.size_hint() } else { self.narrow.size_hint() }
    }
}

impl ExactSizeIterator for Values<'_> {}

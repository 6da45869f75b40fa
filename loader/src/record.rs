//! What an event's bytes say, by the types in the object that sends it: for people and logs, who have no header at hand.
//!
//! | C | becomes |
//! |---|---|
//! | integers, enumerators, `bool`, floating point | numbers, names, truth |
//! | `__be16`, `__be32`, `__be64` | numbers, in network order |
//! | `char`, `char[N]` | text, up to the first zero |
//! | `struct lcc_address`, `struct in6_addr` (16 bytes) | an IPv6 address; an IPv4 one where it is mapped (RFC 4291, 2.5.5.2) |
//! | structs, arrays | their members, their elements |
//! | pointers | hexadecimal |

use std::fmt;
use std::net::Ipv6Addr;

use btf::{Btf, Endian, Kind, Type, TypeId, size_of, strip_modifiers};
use serde::{Serialize, Serializer, ser::SerializeMap};

/// How an event's bytes are read.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Bytes of the struct. An event may have a few more behind them: perf buffers fill up to eight.
    pub size: usize,
    form: Form,
    endian: Endian,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An integer.
    Integer(i128),
    /// A floating point number.
    Float(f64),
    /// Of a `bool`.
    Truth(bool),
    /// Text, a name, an address.
    Text(String),
    /// An array's elements.
    List(Vec<Value>),
    /// A struct's members, in its order.
    Fields(Vec<(String, Value)>),
}

#[derive(Clone, Debug, PartialEq)]
enum Form {
    Integer { size: usize, signed: bool, network: bool },
    Float { size: usize },
    Truth,
    Text { len: usize },
    Address,
    Pointer { size: usize },
    Name { size: usize, signed: bool, names: Vec<(i128, String)> },
    List { element: Box<Form>, stride: usize, len: usize },
    Fields(Vec<Field>),
}

#[derive(Clone, Debug, PartialEq)]
struct Field {
    name: String,
    /// In bytes.
    at: usize,
    form: Form,
    /// Of a bit-field: its first bit, and how many they are.
    bits: Option<(u32, u32)>,
}

/// Types inside of types: more than any event has, fewer than the stack can take.
const DEEPEST: usize = 16;
/// Bytes of an event, and members of all its structs with elements of all its arrays.
const LARGEST: usize = 1 << 20;
const MOST: usize = 1 << 14;

impl Record {
    /// How a struct of this name is read.
    ///
    /// # Errors
    /// The types do not have it, or it cannot be read: why.
    pub fn of(btf: &Btf<'_>, name: &str) -> Result<Record, String> {
        let id = btf.find(name, Kind::Struct).next();
        let id = id.ok_or_else(|| format!("the object's types have no struct {name}"))?;
        let size = size_of(btf, id).map_err(|error| error.to_string())?.0 as usize;
        if size > LARGEST {
            return Err(format!("struct {name} has {size} bytes"));
        }
        let mut left = MOST;
        let form = form(btf, id, 0, &mut left).map_err(|why| format!("struct {name}: {why}"))?;
        Ok(Record { size, form, endian: btf.endian() })
    }

    /// What the bytes say. `None` where they are fewer than the struct has.
    pub fn read(&self, bytes: &[u8]) -> Option<Value> {
        read(&self.form, bytes.get(..self.size)?, self.endian)
    }
}

impl Record {
    /// Writes a member of a struct, `a.b[2].c`, as text has it: a number (decimal, or hexadecimal after `0x`), `true`, an
    /// enumerator, an address, or text that is cut to its room.
    ///
    /// # Errors
    /// There is no such member, or the value is none of its type's: why.
    pub fn set(&self, bytes: &mut [u8], path: &str, value: &str) -> Result<(), String> {
        let (mut form, mut at, mut left) = (&self.form, 0, path);
        while !left.is_empty() {
            let end = left[1..].find(['.', '[']).map_or(left.len(), |end| end + 1);
            let (part, rest) = left.split_at(end);
            left = rest;
            match (form, part.strip_prefix('[').and_then(|part| part.strip_suffix(']'))) {
                (Form::List { element, stride, len }, Some(index)) => {
                    let index: usize = index.parse().map_err(|_| format!("{index} is no number"))?;
                    if index >= *len {
                        return Err(format!("it has {len} elements"));
                    }
                    (form, at) = (element, at + index * stride);
                }
                (Form::Fields(fields), None) => {
                    let name = part.trim_start_matches('.');
                    let known = || fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>().join(", ");
                    let field = fields.iter().find(|field| field.name == name);
                    let field = field.ok_or_else(|| format!("no member {name}; there are {}", known()))?;
                    if field.bits.is_some() {
                        return Err("bit-fields cannot be set".to_owned());
                    }
                    (form, at) = (&field.form, at + field.at);
                }
                _ => return Err(format!("there is no {part} in it")),
            }
        }
        self.write(form, bytes.get_mut(at..).unwrap_or_default(), value)
    }

    fn write(&self, form: &Form, bytes: &mut [u8], text: &str) -> Result<(), String> {
        let number = |text: &str| {
            let parsed = match text.strip_prefix("0x") {
                Some(hex) => i128::from_str_radix(hex, 16),
                None => text.parse(),
            };
            parsed.map_err(|_| format!("{text} is no number"))
        };
        let (value, size, signed, endian) = match form {
            &Form::Integer { size, signed, network } => {
                (number(text)?, size, signed, if network { Endian::Big } else { self.endian })
            }
            Form::Truth => match text {
                "true" | "1" => (1, 1, false, self.endian),
                "false" | "0" => (0, 1, false, self.endian),
                _ => return Err(format!("{text} is neither true nor false")),
            },
            Form::Name { size, signed, names } => {
                let known = names.iter().find(|(_, name)| name == text).map(|(value, _)| *value);
                (known.map_or_else(|| number(text), Ok)?, *size, *signed, self.endian)
            }
            Form::Address => {
                let address: std::net::IpAddr = text.parse().map_err(|_| format!("{text} is no address"))?;
                let address = match address {
                    std::net::IpAddr::V4(address) => address.to_ipv6_mapped(),
                    std::net::IpAddr::V6(address) => address,
                };
                bytes.get_mut(..16).ok_or("it is cut")?.copy_from_slice(&address.octets());
                return Ok(());
            }
            &Form::Text { len } => {
                let room = bytes.get_mut(..len).ok_or("it is cut")?;
                // the last byte stays zero
                let text = &text.as_bytes()[..text.len().min(len - usize::from(len > 1))];
                room.fill(0);
                room[..text.len()].copy_from_slice(text);
                return Ok(());
            }
            _ => return Err("it is no value of its own".to_owned()),
        };
        let bits = 8 * size as u32;
        let (least, most) = match signed {
            true => (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1),
            false => (0, (1i128 << bits) - 1),
        };
        if !(least..=most).contains(&value) {
            return Err(format!("it takes {least} to {most}"));
        }
        let room = bytes.get_mut(..size).ok_or("it is cut")?;
        room.copy_from_slice(&value.to_le_bytes()[..size]);
        if endian == Endian::Big {
            room.reverse();
        }
        Ok(())
    }
}

fn form(btf: &Btf<'_>, id: TypeId, depth: usize, left: &mut usize) -> Result<Form, String> {
    let told = |error: btf::Error| error.to_string();
    if depth > DEEPEST {
        return Err("its types go too deep".to_owned());
    }
    let id = strip_modifiers(btf, id).map_err(told)?;
    Ok(match btf.ty(id).map_err(told)? {
        Type::Int { name, size, encoding, .. } => match encoding {
            _ if name == "char" => Form::Text { len: 1 },
            encoding if encoding.is_bool() => Form::Truth,
            encoding => Form::Integer { size: size.0 as usize, signed: encoding.is_signed(), network: false },
        },
        Type::Float { size, .. } => Form::Float { size: size.0 as usize },
        Type::Ptr(_) => Form::Pointer { size: size_of(btf, id).map_err(told)?.0 as usize },
        Type::Enum(definition) | Type::Enum64(definition) => {
            let values = definition.values().map(|value| value.map(|value| (value.value, value.name.to_owned())));
            Form::Name {
                size: definition.size.0 as usize,
                signed: definition.signed(),
                names: values.collect::<Result<_, _>>().map_err(told)?,
            }
        }
        Type::Array { element, len, .. } => {
            let (form, stride) =
                (form(btf, element, depth + 1, left)?, size_of(btf, element).map_err(told)?.0 as usize);
            let len = len as usize;
            match form {
                Form::Text { len: 1 } => Form::Text { len },
                // elements of no size would be as many as one likes
                _ if stride.checked_mul(len).is_none_or(|size| size > LARGEST || size == 0 && len > 0) => {
                    return Err(format!("an array of {len} elements of {stride} bytes"));
                }
                element => {
                    *left = left.checked_sub(len).ok_or("it has too many elements")?;
                    Form::List { element: Box::new(element), stride, len }
                }
            }
        }
        Type::Typedef { name: "__be16" | "__be32" | "__be64", ty } => match form(btf, ty, depth + 1, left)? {
            Form::Integer { size, signed, .. } => Form::Integer { size, signed, network: true },
            other => other,
        },
        Type::Typedef { ty, .. } => form(btf, ty, depth + 1, left)?,
        Type::Struct(found) if matches!(found.name, "lcc_address" | "in6_addr") && found.size.0 == 16 => Form::Address,
        Type::Struct(found) | Type::Union(found) => {
            let mut fields = Vec::new();
            for member in found.members() {
                let member = member.map_err(told)?;
                *left = left.checked_sub(1).ok_or("it has too many members")?;
                let bits = (member.bitfield_size != 0).then_some((member.offset.0, member.bitfield_size));
                let field = form(btf, member.ty, depth + 1, left)?;
                let at = (member.offset.0 / 8) as usize;
                match field {
                    // an anonymous struct's members are its owner's
                    Form::Fields(inner) if member.name.is_empty() => {
                        fields.extend(inner.into_iter().map(|field| Field {
                            at: at + field.at,
                            bits: field.bits.map(|(first, width)| (member.offset.0 + first, width)),
                            ..field
                        }));
                    }
                    form => fields.push(Field { name: member.name.to_owned(), at, form, bits }),
                }
            }
            Form::Fields(fields)
        }
        other => return Err(format!("{} is nothing to be sent", other.name())),
    })
}

fn integer(bytes: &[u8], signed: bool, endian: Endian) -> i128 {
    let mut wide = [0u8; 16];
    let len = bytes.len().min(16);
    match endian {
        Endian::Little => wide[..len].copy_from_slice(&bytes[..len]),
        Endian::Big => (0..len).for_each(|at| wide[at] = bytes[len - 1 - at]),
    }
    extended(u128::from_le_bytes(wide), 8 * len as u32, signed)
}

fn extended(value: u128, bits: u32, signed: bool) -> i128 {
    let unused = 128 - bits.clamp(1, 128);
    if signed { ((value << unused) as i128) >> unused } else { value as i128 }
}

fn read(form: &Form, bytes: &[u8], endian: Endian) -> Option<Value> {
    Some(match form {
        &Form::Integer { size, signed, network } => {
            let endian = if network { Endian::Big } else { endian };
            Value::Integer(integer(bytes.get(..size)?, signed, endian))
        }
        &Form::Float { size } => match (size, endian) {
            (4, Endian::Little) => Value::Float(f32::from_le_bytes(bytes.get(..4)?.try_into().ok()?).into()),
            (4, Endian::Big) => Value::Float(f32::from_be_bytes(bytes.get(..4)?.try_into().ok()?).into()),
            (8, Endian::Little) => Value::Float(f64::from_le_bytes(bytes.get(..8)?.try_into().ok()?)),
            (8, Endian::Big) => Value::Float(f64::from_be_bytes(bytes.get(..8)?.try_into().ok()?)),
            _ => return None,
        },
        Form::Truth => Value::Truth(*bytes.first()? != 0),
        &Form::Text { len } => {
            let text = bytes.get(..len)?.split(|&byte| byte == 0).next().unwrap_or_default();
            Value::Text(String::from_utf8_lossy(text).into_owned())
        }
        Form::Address => {
            let address = Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(..16)?).ok()?);
            Value::Text(address.to_ipv4_mapped().map_or_else(|| address.to_string(), |mapped| mapped.to_string()))
        }
        &Form::Pointer { size } => Value::Text(format!("{:#x}", integer(bytes.get(..size)?, false, endian))),
        Form::Name { size, signed, names } => name(integer(bytes.get(..*size)?, *signed, endian), names),
        Form::List { element, stride, len } => {
            let element = |at: usize| read(element, bytes.get(at * stride..)?, endian);
            Value::List((0..*len).map(element).collect::<Option<_>>()?)
        }
        Form::Fields(fields) => {
            let value = |field: &Field| match field.bits {
                None => read(&field.form, bytes.get(field.at..)?, endian),
                Some((first, width)) => bit_field(&field.form, bytes, first, width, endian),
            };
            let named = |field: &Field| Some((field.name.clone(), value(field)?));
            Value::Fields(fields.iter().map(named).collect::<Option<_>>()?)
        }
    })
}

fn name(value: i128, names: &[(i128, String)]) -> Value {
    match names.iter().find(|(known, _)| *known == value) {
        Some((_, name)) => Value::Text(name.clone()),
        None => Value::Integer(value),
    }
}

/// Bits `first..first + width` of a struct, counted as its byte order has them.
fn bit_field(form: &Form, bytes: &[u8], first: u32, width: u32, endian: Endian) -> Option<Value> {
    let (begin, end) = ((first / 8) as usize, (first + width).div_ceil(8) as usize);
    let whole = integer(bytes.get(begin..end).filter(|bytes| bytes.len() <= 16)?, false, endian) as u128;
    let unused = match endian {
        Endian::Little => first % 8,
        Endian::Big => 8 * end as u32 - (first + width),
    };
    let mask = if width >= 128 { u128::MAX } else { (1 << width) - 1 };
    let value = |signed| extended((whole >> unused) & mask, width, signed);
    Some(match form {
        Form::Name { signed, names, .. } => name(value(*signed), names),
        Form::Truth => Value::Truth(value(false) != 0),
        Form::Integer { signed, .. } => Value::Integer(value(*signed)),
        _ => Value::Integer(value(false)),
    })
}

impl Value {
    /// A member, by its name; `a.b` is the member `b` of member `a`.
    pub fn get(&self, path: &str) -> Option<&Value> {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let Value::Fields(fields) = self else { return None };
        let found = fields.iter().find(|(name, _)| name == first).map(|(_, value)| value)?;
        rest.map_or(Some(found), |rest| found.get(rest))
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Integer(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => serializer.serialize_i64(value),
                (_, Ok(value)) => serializer.serialize_u64(value),
                // wider than what readers of JSON take
                _ => serializer.collect_str(value),
            },
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::Truth(value) => serializer.serialize_bool(*value),
            Value::Text(value) => serializer.serialize_str(value),
            Value::List(values) => serializer.collect_seq(values),
            Value::Fields(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

/// `a=1 b.c=2 d=[3,4]`, for a line.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn line(value: &Value, prefix: &str, first: &mut bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            if let Value::Fields(fields) = value {
                for (name, value) in fields {
                    let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                    line(value, &name, first, f)?;
                }
                return Ok(());
            }
            if !std::mem::replace(first, false) {
                f.write_str(" ")?;
            }
            if !prefix.is_empty() {
                write!(f, "{prefix}=")?;
            }
            match value {
                Value::Integer(value) => write!(f, "{value}"),
                Value::Float(value) => write!(f, "{value}"),
                Value::Truth(value) => write!(f, "{value}"),
                // what is not one word is quoted
                Value::Text(value) if value.is_empty() || value.contains([' ', '"', '\n', '\t', '\x1b']) => {
                    write!(f, "{value:?}")
                }
                Value::Text(value) => f.write_str(value),
                Value::List(values) => {
                    f.write_str("[")?;
                    for (at, value) in values.iter().enumerate() {
                        if at > 0 {
                            f.write_str(",")?;
                        }
                        match value {
                            Value::Fields(_) => write!(f, "{{{value}}}")?,
                            value => write!(f, "{value}")?,
                        }
                    }
                    f.write_str("]")
                }
                Value::Fields(_) => Ok(()),
            }
        }
        line(self, "", &mut true, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Record {
        let number = |size, signed, network| Form::Integer { size, signed, network };
        let field = |name: &str, at, form| Field { name: name.to_owned(), at, form, bits: None };
        let names = vec![(0, "SENT".to_owned()), (-1, "FAILED".to_owned())];
        let fields = vec![
            field("time", 0, number(8, false, false)),
            field("change", 8, number(4, true, false)),
            field("port", 12, number(2, false, true)),
            Field { bits: Some((112, 3)), ..field("low", 14, number(1, false, false)) },
            Field { bits: Some((115, 9)), ..field("high", 14, number(2, true, false)) },
            field("peer", 16, Form::Address),
            field("name", 32, Form::Text { len: 8 }),
            field("kind", 40, Form::Name { size: 4, signed: true, names }),
            field("at", 44, Form::Fields(vec![field("x", 0, Form::Truth), field("y", 1, number(1, false, false))])),
            field("list", 46, Form::List { element: Box::new(number(1, false, false)), stride: 1, len: 2 }),
        ];
        Record { size: 48, form: Form::Fields(fields), endian: Endian::Little }
    }

    #[test]
    fn bytes_are_read_by_their_types() {
        let mut bytes = [0u8; 56];
        bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        bytes[8..12].copy_from_slice(&(-5i32).to_le_bytes());
        bytes[12..14].copy_from_slice(&443u16.to_be_bytes());
        // low 5, high -2 (nine bits)
        bytes[14..16].copy_from_slice(&(5u16 | (0x1fe << 3)).to_le_bytes());
        bytes[26..32].copy_from_slice(&[0xff, 0xff, 127, 0, 0, 1]);
        bytes[32..36].copy_from_slice(b"a b\0");
        bytes[40..44].copy_from_slice(&(-1i32).to_le_bytes());
        bytes[44..48].copy_from_slice(&[1, 2, 3, 4]);
        let value = sample().read(&bytes).unwrap();
        let line = "time=18446744073709551615 change=-5 port=443 low=5 high=-2 peer=127.0.0.1 name=\"a b\" kind=FAILED \
                    at.x=true at.y=2 list=[3,4]";
        assert_eq!(value.to_string(), line);
        let json = r#"{"time":18446744073709551615,"change":-5,"port":443,"low":5,"high":-2,"peer":"127.0.0.1","name":"a b","kind":"FAILED","at":{"x":true,"y":2},"list":[3,4]}"#;
        assert_eq!(serde_json::to_string(&value).unwrap(), json);
        assert_eq!(value.get("at.y"), Some(&Value::Integer(2)));
        assert_eq!(value.get("at.z"), None);
        assert_eq!(sample().read(&bytes[..47]), None, "an event that is cut says nothing");
    }

    #[test]
    fn what_would_have_no_end_is_refused() {
        use btf::write::{Builder, MemberDef};
        let of = |element_bytes: u32, len: u32| {
            let mut out = Builder::new(Endian::Little);
            let (empty, name, event) = (out.string("empty"), out.string("list"), out.string("event"));
            let element = out.composite(Kind::Struct, empty, btf::ByteSize(element_bytes), []);
            let list = out.array(element, element, len);
            let member = MemberDef { name, ty: list, offset: btf::BitOffset(0), bitfield_size: 0 };
            out.composite(Kind::Struct, event, btf::ByteSize(64), [member]);
            let bytes = out.finish().unwrap();
            Record::of(&Btf::parse(&bytes).unwrap(), "event")
        };
        assert_eq!(of(0, 9000).unwrap_err(), "struct event: an array of 9000 elements of 0 bytes");
        assert_eq!(of(200, 9000).unwrap_err(), "struct event: an array of 9000 elements of 200 bytes");
        assert_eq!(of(1, 20_000).unwrap_err(), "struct event: it has too many elements");
        assert!(of(8, 8).is_ok());
    }

    #[test]
    fn what_is_set_is_read() {
        let mut bytes = vec![0; 48];
        let mut set = |path, value| sample().set(&mut bytes, path, value);
        for (path, value) in [("time", "0x10"), ("change", "-1"), ("port", "443"), ("peer", "10.0.0.1"), ("at.y", "7")]
        {
            set(path, value).unwrap();
        }
        set("name", "longer than it").unwrap();
        set("kind", "FAILED").unwrap();
        set("list[1]", "255").unwrap();
        assert_eq!(set("list[2]", "1"), Err("it has 2 elements".to_owned()));
        assert_eq!(set("list[1]", "256"), Err("it takes 0 to 255".to_owned()));
        assert_eq!(set("at.z", "1"), Err("no member z; there are x, y".to_owned()));
        assert_eq!(set("time.x", "1"), Err("there is no .x in it".to_owned()));
        assert_eq!(set("time", "soon"), Err("soon is no number".to_owned()));
        let line = "time=16 change=-1 port=443 low=0 high=0 peer=10.0.0.1 name=\"longer \" kind=FAILED at.x=false \
                    at.y=7 list=[0,255]";
        assert_eq!(sample().read(&bytes).unwrap().to_string(), line);
    }

    #[test]
    fn bits_are_counted_from_the_other_end_on_the_other_machines() {
        let number = Form::Integer { size: 2, signed: false, network: false };
        // 0b101_0000_0000_00011
        let bytes = [0b1010_0000, 0b0000_0011];
        assert_eq!(bit_field(&number, &bytes, 0, 3, Endian::Big), Some(Value::Integer(5)));
        assert_eq!(bit_field(&number, &bytes, 12, 4, Endian::Big), Some(Value::Integer(3)));
        assert_eq!(bit_field(&number, &bytes, 12, 5, Endian::Big), None);
    }
}

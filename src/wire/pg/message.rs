//! What a logged-in client can say. Bodies are read here and not by pgwire, whose decoders take counts and lengths on
//! trust (`get_u16`, `split_to`) and panic on a short body. It does not judge whether a message is in order.

use bytes::Bytes;

use crate::error::{Error, Kind, Result};
use crate::formats::postgres::utf8_text;

/// A frontend message. Names are empty for the unnamed statement and portal.
#[derive(Debug, PartialEq)]
pub(crate) enum Frontend {
    Query {
        sql: String,
    },
    Parse {
        name: String,
        sql: String,
        oids: Vec<u32>,
    },
    Bind(Bind),
    Describe(Target),
    Execute {
        portal: String,
        max_rows: i32,
    },
    Close(Target),
    Flush,
    Sync,
    Terminate,
    FunctionCall(FunctionCall),
    /// CopyData, CopyDone, CopyFail outside of a copy.
    Copy,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Bind {
    pub(crate) portal: String,
    pub(crate) statement: String,
    pub(crate) parameter_formats: Vec<i16>,
    /// `None` is NULL.
    pub(crate) parameters: Vec<Option<Bytes>>,
    pub(crate) result_formats: Vec<i16>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct FunctionCall {
    pub(crate) oid: u32,
    pub(crate) formats: Vec<i16>,
    /// `None` is NULL.
    pub(crate) arguments: Vec<Option<Bytes>>,
    pub(crate) result_format: i16,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Target {
    Statement(String),
    Portal(String),
}

impl Frontend {
    /// 08P01 where the body is not what its type says; the stream stays in step, for the frame was whole.
    pub(crate) fn read(kind: u8, body: &Bytes) -> Result<Self> {
        let mut body = Body { bytes: body, at: 0 };
        let message = match kind {
            b'Q' => Self::Query { sql: body.text()? },
            b'P' => Self::Parse { name: body.text()?, sql: body.text()?, oids: body.counted(Body::u32)? },
            b'B' => Self::Bind(Bind {
                portal: body.text()?,
                statement: body.text()?,
                parameter_formats: body.counted(Body::i16)?,
                parameters: body.counted(Body::value)?,
                result_formats: body.counted(Body::i16)?,
            }),
            b'D' => Self::Describe(body.target("DESCRIBE")?),
            b'E' => Self::Execute { portal: body.text()?, max_rows: body.i32()? },
            b'C' => Self::Close(body.target("CLOSE")?),
            b'H' => Self::Flush,
            b'S' => Self::Sync,
            b'X' => Self::Terminate,
            b'F' => Self::FunctionCall(FunctionCall {
                oid: body.u32()?,
                formats: body.counted(Body::i16)?,
                arguments: body.counted(Body::value)?,
                result_format: body.i16()?,
            }),
            b'd' | b'c' | b'f' => return Ok(Self::Copy),
            other => return Err(Error::new(Kind::Protocol, format!("invalid frontend message type {other}"))),
        };
        body.end()?;
        Ok(message)
    }
}

/// A body being read; every step checks what is left.
struct Body<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Body<'_> {
    fn take(&mut self, count: usize) -> Result<Bytes> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len()).ok_or_else(short)?;
        let taken = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.as_ref().try_into().map_err(|_| short())
    }

    fn i16(&mut self) -> Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Up to the next NUL, in UTF-8.
    fn text(&mut self) -> Result<String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|b| *b == 0).ok_or_else(|| protocol("invalid string in message"))?;
        let text = self.take(length)?;
        self.at += 1;
        utf8_text(&text).map(str::to_owned)
    }

    /// A length and that many bytes; -1 is NULL.
    fn value(&mut self) -> Result<Option<Bytes>> {
        match self.i32()? {
            -1 => Ok(None),
            length => self.take(usize::try_from(length).map_err(|_| short())?).map(Some),
        }
    }

    /// A count and that many items. Nothing is reserved by the count alone.
    fn counted<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let count = u16::from_be_bytes(self.array()?);
        (0..count).map(|_| item(self)).collect()
    }

    fn target(&mut self, message: &str) -> Result<Target> {
        match self.array()? {
            [b'S'] => self.text().map(Target::Statement),
            [b'P'] => self.text().map(Target::Portal),
            [other] => Err(protocol(format!("invalid {message} message subtype {other}"))),
        }
    }

    fn end(&self) -> Result<()> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(protocol("invalid message format")) }
    }
}

fn short() -> Error {
    protocol("insufficient data left in message")
}

fn protocol(text: impl Into<String>) -> Error {
    Error::new(Kind::Protocol, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: u8, body: &'static [u8]) -> Result<Frontend> {
        Frontend::read(kind, &Bytes::from_static(body))
    }

    #[test]
    fn whole_bodies_are_read() {
        assert_eq!(read(b'Q', b"select 1\0").unwrap(), Frontend::Query { sql: "select 1".into() });
        assert_eq!(
            read(b'P', b"s\0select $1\0\0\x01\0\0\0\x17").unwrap(),
            Frontend::Parse { name: "s".into(), sql: "select $1".into(), oids: vec![23] }
        );
        let bind = b"\0s\0\0\x01\0\x01\0\x02\0\0\0\x04\0\0\0\x05\xff\xff\xff\xff\0\x01\0\0";
        assert_eq!(
            read(b'B', bind).unwrap(),
            Frontend::Bind(Bind {
                portal: String::new(),
                statement: "s".into(),
                parameter_formats: vec![1],
                parameters: vec![Some(Bytes::from_static(b"\0\0\0\x05")), None],
                result_formats: vec![0],
            })
        );
        assert_eq!(read(b'D', b"Pc\0").unwrap(), Frontend::Describe(Target::Portal("c".into())));
        assert_eq!(read(b'E', b"\0\0\0\0\x0a").unwrap(), Frontend::Execute { portal: String::new(), max_rows: 10 });
        assert_eq!(read(b'S', b"").unwrap(), Frontend::Sync);
        let call = FunctionCall { oid: 177, formats: vec![], arguments: vec![None], result_format: 1 };
        assert_eq!(read(b'F', b"\0\0\0\xb1\0\0\0\x01\xff\xff\xff\xff\0\x01").unwrap(), Frontend::FunctionCall(call));
        assert_eq!(read(b'd', b"\xff").unwrap(), Frontend::Copy);
    }

    #[test]
    fn broken_bodies_are_protocol_errors() {
        let broken: [(u8, &'static [u8]); 14] = [
            (b'Q', b""),
            (b'Q', b"no end"),
            (b'Q', b"two\0ends\0"),
            (b'P', b"s\0q\0\0"),
            (b'P', b"s\0q\0\xff\xff"),
            (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff"),
            (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"),
            (b'B', b"\0\0\xff\xff"),
            (b'D', b""),
            (b'D', b"Xname\0"),
            (b'E', b"\0\0\0"),
            (b'C', b"S"),
            (b'S', b"\0"),
            (b'Z', b""),
        ];
        for (kind, body) in broken {
            assert_eq!(read(kind, body).unwrap_err().kind(), Kind::Protocol, "{} {body:?}", char::from(kind));
        }
        assert_eq!(read(b'Q', b"\xff\0").unwrap_err().kind(), Kind::InvalidEncoding);
    }
}

//! What a real PostgreSQL takes and refuses, whole and cut at every byte.

use super::super::layout::{Csv, Header, Layout, Marks};
use super::Reader;

fn marks(delimiter: u8, null: &str, header: Header) -> Marks {
    Marks { delimiter, null: null.into(), header }
}

fn layout_of_text() -> Layout {
    Layout::Text(marks(b'\t', "\\N", Header::None))
}

fn csv(header: Header) -> Csv {
    let marks = marks(b',', "", header);
    Csv { marks, quote: b'"', escape: b'"', force_quote: vec![], force_not_null: vec![], force_null: vec![] }
}

/// `1:a|NULL;2:…`, and the fault behind what came before it, with what is known of its place.
fn read(layout: &Layout, columns: &[&str], portions: &[&[u8]]) -> String {
    let names = columns.iter().map(ToString::to_string).collect();
    let mut reader = Reader::new(layout.clone(), names, 1 << 20);
    let mut told = vec![];
    for (i, portion) in portions.iter().map(Some).chain([None]).enumerate() {
        match portion {
            Some(portion) => reader.feed(portion),
            None => reader.close(),
        }
        assert!(i <= portions.len());
        loop {
            match reader.next() {
                Ok(None) => break,
                Ok(Some(row)) => {
                    let field = |i| row.field(i).map_or("NULL".into(), |f| String::from_utf8_lossy(f).into_owned());
                    let fields: Vec<String> = (0..row.len()).map(field).collect();
                    told.push(format!("{}:{}", row.number, fields.join("|")));
                }
                Err(fault) => {
                    let line = fault.line.map(|line| format!(" {:?}", String::from_utf8_lossy(&line)));
                    let number = fault.number.map_or("-".into(), |number| number.to_string());
                    let error = &fault.error;
                    told.push(format!("!{number} {}{}", error.message(), line.unwrap_or_default()));
                    return told.join(";");
                }
            }
        }
    }
    told.join(";")
}

fn check(layout: &Layout, columns: &[&str], cases: &[(&[u8], &str)]) {
    for (bytes, expected) in cases {
        let shown = String::from_utf8_lossy(bytes);
        assert_eq!(read(layout, columns, &[bytes]), *expected, "{shown}");
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(layout, columns, &single), *expected, "byte by byte: {shown}");
        for cut in 0..bytes.len() {
            let (a, b) = bytes.split_at(cut);
            assert_eq!(read(layout, columns, &[a, b]), *expected, "cut at {cut}: {shown}");
        }
    }
}

#[test]
fn text() {
    check(
        &layout_of_text(),
        &["a", "b"],
        &[
            (b"1\tx\n2\t\\N\n", "1:1|x;2:2|NULL"),
            (b"1\tx", "1:1|x"),
            (b"\n", "1:"),
            (b"1\ta\\tb\\\\c\\n\\x41\\101\\q\\8\n", "1:1|a\tb\\c\nAAq8"),
            (b"1\ta\\\nb\n", "1:1|a\nb"),
            (b"1\tx\r\n2\ty\r\n", "1:1|x;2:2|y"),
            (b"1\tx\r2\ty", "1:1|x;2:2|y"),
            (b"1\tx\r\n2\ty\n", "1:1|x;!2 literal newline found in data"),
            (b"1\tx\n2\ty\r\n", "1:1|x;!2 literal carriage return found in data"),
            (b"1\tx\n\\.\ngarbage", "1:1|x"),
            (b"1\tx\n\\.x\n", "1:1|x;!2 end-of-copy marker corrupt"),
            (b"1\tx\\.\ty\n", "!1 end-of-copy marker corrupt"),
            (b"1\tx\n\\.\r\n", "1:1|x;!2 end-of-copy marker does not match previous newline style"),
            (b"1\t\xff\n", "!1 invalid byte sequence for encoding \"UTF8\": 0xff"),
            (b"1\t\\xff\n", "!1 invalid byte sequence for encoding \"UTF8\": 0xff \"1\\t\\\\xff\""),
            (b"1\tx\\\\N\n\\\\N\t\\\\.\n", "1:1|x\\N;2:\\N|\\."),
            (b"", ""),
        ],
    );
}

#[test]
fn csv_with_its_quotes() {
    check(
        &Layout::Csv(csv(Header::None)),
        &["a", "b"],
        &[
            (b"1,\"x\ny\"\n2,\n", "1:1|x\ny;2:2|NULL"),
            (b"1,\"a\"\"b,\"c\n", "1:1|a\"b,c"),
            (b"1,\"\"\n", "1:1|"),
            (b"1,\"x\ny", "!1 unterminated CSV quoted field \"1,\\\"x\\ny\""),
            (b"1,x\n2,y\r,\n", "1:1|x;!2 unquoted carriage return found in data"),
            (b"1,x\n\\.\n3,z\n", "1:1|x"),
            (b"1,\\.\n", "1:1|\\."),
            (b"\\.x,1\n", "1:\\.x|1"),
            (b"\n", "1:NULL"),
            (b"1,\"x\r\n\ny\"\r\n2,z\r\n", "2:1|x\r\n\ny;3:2|z"),
        ],
    );
    let odd = Csv { quote: b'\'', escape: b'\\', ..csv(Header::None) };
    check(&Layout::Csv(odd), &["a"], &[(b"'it\\'s \\\\ \\n'\n", "1:it's \\ \\n"), (b"'a\n''b'\n", "1:a\nb")]);
    let forced = Csv { force_not_null: vec![true, false], force_null: vec![false, true], ..csv(Header::None) };
    check(&Layout::Csv(forced), &["a", "b"], &[(b",\"\"\n\"\",\n", "1:|NULL;2:|NULL")]);
}

#[test]
fn headers() {
    let lines = |header| Layout::Csv(csv(header));
    check(&lines(Header::Line), &["a", "b"], &[(b"whatever\n1,2\n", "2:1|2"), (b"whatever", "")]);
    check(
        &lines(Header::Match),
        &["a", "b"],
        &[
            (b"a,b\n1,2\n", "2:1|2"),
            (b"a\n", "!1 wrong number of fields in header line: got 1, expected 2 \"a\""),
            (b"a,x\n", "!1 column name mismatch in header line field 2: got \"x\", expected \"b\" \"a,x\""),
            (b"a,\n", "!1 column name mismatch in header line field 2: got null value (\"\"), expected \"b\" \"a,\""),
        ],
    );
}

#[test]
fn binary() {
    let head = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    let case = |rest: &[u8]| [&head[..], rest].concat();
    let row = b"\0\x02\0\0\0\x01x\xff\xff\xff\xff";
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (case(b""), ""),
        (case(b"\xff\xff"), ""),
        (case(&[&row[..], b"\xff\xff"].concat()), "1:x|NULL"),
        (case(row), "1:x|NULL"),
        (case(b"\0\x01\0\0\0\0"), "!1 row field count is 1, expected 2"),
        (case(&[&row[..], b"\0\x02\0\0\0\x01"].concat()), "1:x|NULL;!2 unexpected EOF in COPY data"),
        (case(&[&row[..], b"\xff\xffz"].concat()), "1:x|NULL;!2 received copy data after EOF marker"),
        (case(b"\0\x02\0\0\0\x01x\xff\xff\xff\xfe"), "!1 invalid field size"),
        (b"PGCOPY\n\xff\r\n\0".to_vec(), "!- invalid COPY file header (missing flags)"),
        (b"xxx".to_vec(), "!- COPY file signature not recognized"),
        (b"PGCOPY\n\xff\r\n\0\0\x01\0\0\0\0\0\0".to_vec(), "!- invalid COPY file header (WITH OIDS)"),
        (b"PGCOPY\n\xff\r\n\0\x01\0\0\0\0\0\0\0".to_vec(), "!- unrecognized critical flags in COPY file header"),
    ];
    let cases: Vec<(&[u8], &str)> = cases.iter().map(|(bytes, told)| (bytes.as_slice(), *told)).collect();
    check(&Layout::Binary, &["a", "b"], &cases);
}

#[test]
fn a_row_that_never_ends_is_refused() {
    let mut reader = Reader::new(layout_of_text(), vec!["a".into()], 1_000);
    reader.feed(&[b'x'; 900]);
    assert!(reader.next().unwrap().is_none());
    reader.feed(&[b'x'; 900]);
    assert_eq!(reader.next().unwrap_err().error.message(), "a row of COPY is larger than 1000 bytes");
}

//! Bytes of a text file → its records: lines, or those of CSV, whose fields may hold line ends in quotes. It decodes nothing.

/// A file's bytes as they come, cut where records end.
#[derive(Debug)]
pub(crate) struct Cutter {
    /// In which line ends are no ends.
    quote: Option<u8>,
    bytes: Vec<u8>,
    /// Where the next record begins in `bytes`, and how far that was looked at.
    start: usize,
    looked: usize,
    is_quoted: bool,
    /// Of the byte at `start` in the file.
    at: u64,
}

/// Records that were cut, in their order.
#[derive(Debug, Default)]
pub(crate) struct Records {
    bytes: Vec<u8>,
    /// Where each ends in `bytes`, and the number of its line.
    ends: Vec<(usize, u64)>,
}

/// A record that is larger is not read: something else is in the file.
pub(crate) const RECORD_BYTES_MAX: usize = 16 << 20;

impl Records {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(end, _)| *end));
        starts.zip(&self.ends).map(|(start, (end, _))| self.bytes.get(start..*end).unwrap_or_default())
    }

    pub(crate) fn get(&self, at: usize) -> Option<&[u8]> {
        let start = at.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).map(|(end, _)| *end))?;
        self.bytes.get(start..self.ends.get(at)?.0)
    }

    /// Of the record's first line, from 1.
    pub(crate) fn line(&self, at: usize) -> u64 {
        self.ends.get(at).map_or(0, |(_, line)| *line)
    }
}

impl Cutter {
    /// `at`: of the first byte that will be fed, in its file.
    pub(crate) fn new(quote: Option<u8>, at: u64) -> Self {
        Self { quote, bytes: vec![], start: 0, looked: 0, is_quoted: false, at }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.looked -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Behind the last record that was cut.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// The next record moves to `records`; `line` is its number, and then that of the line behind it. Blank ones are
    /// passed. False where its end did not come yet; `is_last`: the file's end is one.
    pub(crate) fn cut(&mut self, records: &mut Records, line: &mut u64, is_last: bool) -> bool {
        loop {
            let Some(end) = self.end() else {
                if !is_last || self.start == self.bytes.len() {
                    return false;
                }
                let end = self.bytes.len();
                return self.moved(end, end, records, line);
            };
            if self.moved(end, end + 1, records, line) {
                return true;
            }
        }
    }

    fn end(&mut self) -> Option<usize> {
        while let Some(byte) = self.bytes.get(self.looked) {
            if *byte == b'\n' && !self.is_quoted {
                return Some(self.looked);
            }
            if Some(*byte) == self.quote {
                self.is_quoted = !self.is_quoted;
            }
            self.looked += 1;
        }
        None
    }

    fn moved(&mut self, end: usize, next: usize, records: &mut Records, line: &mut u64) -> bool {
        let record = self.bytes.get(self.start..end).unwrap_or_default();
        let ends = record.iter().filter(|byte| **byte == b'\n').count() as u64;
        let is_blank = record.trim_ascii().is_empty();
        if !is_blank {
            records.bytes.extend_from_slice(record.strip_suffix(b"\r").unwrap_or(record));
            records.ends.push((records.bytes.len(), *line));
        }
        *line += ends + 1;
        self.at += (next - self.start) as u64;
        (self.start, self.looked, self.is_quoted) = (next, next, false);
        !is_blank
    }

    /// What was fed and is no whole record.
    pub(crate) fn waiting(&self) -> usize {
        self.bytes.len() - self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fed so many bytes at a time.
    fn cut(text: &str, quote: Option<u8>, step: usize) -> (Vec<(u64, String)>, u64) {
        let (mut cutter, mut records, mut line) = (Cutter::new(quote, 0), Records::default(), 1);
        for piece in text.as_bytes().chunks(step) {
            cutter.feed(piece);
            while cutter.cut(&mut records, &mut line, false) {}
        }
        while cutter.cut(&mut records, &mut line, true) {}
        let all = records.iter().enumerate();
        let all = all.map(|(at, bytes)| (records.line(at), String::from_utf8(bytes.to_vec()).unwrap()));
        (all.collect(), cutter.at())
    }

    #[test]
    fn records_are_the_same_however_their_bytes_come() {
        let csv = "a,\"x\ny\"\"z\"\r\n\n  \nb,2\r\nc,\"\n\n\"\nlast";
        let expected = [(1, "a,\"x\ny\"\"z\""), (5, "b,2"), (6, "c,\"\n\n\""), (9, "last")];
        let expected: Vec<_> = expected.map(|(line, text)| (line, text.to_string())).into();
        for step in 1..=csv.len() {
            assert_eq!(cut(csv, Some(b'"'), step), (expected.clone(), csv.len() as u64), "{step}");
        }
        let lines = "{\"a\": \"\n{}\n";
        for step in 1..=lines.len() {
            assert_eq!(cut(lines, None, step).0, [(1, "{\"a\": \"".to_string()), (2, "{}".to_string())], "{step}");
        }
        assert_eq!(cut("", None, 1), (vec![], 0));
    }

    #[test]
    fn a_place_behind_a_record_is_where_the_next_one_begins() {
        let text = "one\ntwo\nthree\n";
        let (mut cutter, mut records, mut line) = (Cutter::new(None, 0), Records::default(), 1);
        cutter.feed(text.as_bytes());
        assert!(cutter.cut(&mut records, &mut line, false) && cutter.cut(&mut records, &mut line, false));
        let at = cutter.at() as usize;
        assert_eq!((&text[at..], line, records.get(1)), ("three\n", 3, Some(&b"two"[..])));
        assert_eq!(cutter.waiting(), "three\n".len());
    }
}

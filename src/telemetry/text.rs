//! The fields of a log line in the text format. Names, SQL and errors of strangers stand in them, so a line stays one line
//! whatever it is given, and no value can be read as a field of its own. JSON needs none of this: its writer escapes.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// `message name=plain name="with blanks or \n"`.
#[derive(Debug)]
pub(super) struct Fields;

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line { writer, is_empty: true, written: Ok(()) };
        fields.record(&mut line);
        line.written
    }
}

struct Line<'w> {
    writer: Writer<'w>,
    is_empty: bool,
    written: fmt::Result,
}

impl Line<'_> {
    fn put(&mut self, field: &Field, text: &str, is_quoted: bool) -> fmt::Result {
        // What `log` records carry beside their message; the line's head has it.
        if field.name().starts_with("log.") {
            return Ok(());
        }
        if !std::mem::take(&mut self.is_empty) {
            self.writer.write_char(' ')?;
        }
        if field.name() == "message" {
            return escaped(&mut self.writer, text);
        }
        write!(self.writer, "{}=", field.name())?;
        match is_quoted || !is_plain(text) {
            true => write!(self.writer, "{text:?}"),
            false => self.writer.write_str(text),
        }
    }
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.written = self.written.and_then(|()| self.put(field, value, true));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        self.written = self.written.and_then(|()| self.put(field, &text, false));
    }
}

/// Nothing in it could end the value, the line or a terminal's patience.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| !c.is_whitespace() && !matches!(c, '"' | '=' | '\\') && is_printable(c))
}

fn is_printable(c: char) -> bool {
    // Rust's own table: control characters, separators of lines, marks that turn the direction of writing.
    c.escape_debug().count() == 1 || matches!(c, '"' | '\'')
}

/// A message is ours, but for libraries that put what they heard into theirs.
fn escaped(writer: &mut Writer<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        match is_printable(c) {
            true => writer.write_char(c)?,
            false => write!(writer, "{}", c.escape_debug())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing::Subscriber;
    use tracing_subscriber::fmt::MakeWriter;

    use super::super::Format;
    use super::super::lines;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Written {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    /// What `log` wrote under the subscriber of `format`.
    fn written(format: Format, log: impl FnOnce()) -> String {
        let written = Written::default();
        let subscriber: Box<dyn Subscriber + Send + Sync> = lines(format, "trace", false, written.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    /// Line ends, a terminal's commands, marks that reorder text, and what looks like our own fields.
    const HOSTILE: &str =
        "x\n2026-01-01T00:00:00Z  INFO audit: statement\r\u{1b}[2J\u{2028}\u{85}\u{202e}\0 user=\"admin\" a\\\" b";

    fn log_it() {
        let error = crate::error::Error::new(crate::error::Kind::Syntax, HOSTILE);
        let span = tracing::info_span!("connection", application = HOSTILE, named = %HOSTILE);
        span.in_scope(|| {
            tracing::info!(user = HOSTILE, shown = %HOSTILE, debugged = ?HOSTILE, error = %error, whole = ?error, "login failed");
        });
        tracing::warn!("{HOSTILE}");
    }

    #[test]
    fn a_line_of_text_is_one_line_whatever_is_logged() {
        let text = written(Format::Text, log_it);
        let log: Vec<&str> = text.lines().collect();
        assert_eq!(log.len(), 2, "{text}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(!text.contains(['\u{2028}', '\u{202e}']), "{text:?}");
        // Outside of quotes stand our own fields and nothing else.
        let (mut bare, mut quoted, mut rest) = (String::new(), false, log[0].chars());
        while let Some(c) = rest.next() {
            match c {
                '\\' if quoted => drop(rest.next()),
                '"' => quoted = !quoted,
                c if !quoted => bare.push(c),
                _ => {}
            }
        }
        assert!(!quoted && !bare.contains("admin") && !bare.contains("INFO audit"), "{bare}");
        for name in ["application=", "named=", "user=", "shown=", "debugged=", "error=", "whole=", "login failed"] {
            assert_eq!(bare.matches(name).count(), 1, "{name}: {bare}");
        }
    }

    #[test]
    fn a_line_of_json_is_one_line_too() {
        let text = written(Format::Json, log_it);
        let log: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(log.len(), 2, "{text}");
        assert_eq!((&log[0]["user"], &log[0]["message"]), (&HOSTILE.into(), &"login failed".into()));
    }

    #[test]
    fn plain_values_stand_without_quotes() {
        let text = written(Format::Text, || {
            tracing::info!(postgres = %"127.0.0.1:5433", rows = 7, user = "ann", tables = "", reason = %"it's gone", "serving");
        });
        let expected = "serving postgres=127.0.0.1:5433 rows=7 user=\"ann\" tables=\"\" reason=\"it's gone\"\n";
        assert!(text.ends_with(expected), "{text}");
    }
}

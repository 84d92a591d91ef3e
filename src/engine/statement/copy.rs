//! COPY between a table or a query and whoever sent the statement. What a file of the server or a program of it would be the
//! other end of, is refused to everybody.

mod from;
mod options;
mod to;

use super::Admitted;
use crate::error::{Error, Kind, Result};
use crate::sql::parse::copy::{Copy, Direction, End};

pub(super) fn admit(copy: Copy) -> Result<Admitted> {
    match copy.direction {
        Direction::To => to::admit(copy),
        Direction::From => from::admit(copy),
    }
}

/// 42501 where the other end is not the client, as PostgreSQL says it to whoever may not use that.
fn refuse_server(end: End, direction: Direction) -> Result<()> {
    let needed = match (end, direction) {
        (End::Client, _) => return Ok(()),
        (End::File, Direction::To) => "pg_write_server_files role to COPY to a file",
        (End::File, Direction::From) => "pg_read_server_files role to COPY from a file",
        (End::Program, _) => "pg_execute_server_program role to COPY to or from an external program",
    };
    let text = format!("must be superuser or have privileges of the {needed}");
    let hint = "Anyone can COPY to stdout or from stdin. psql's \\copy command also works for anyone.";
    Err(Error::new(Kind::PermissionDenied, text).with_hint(hint))
}

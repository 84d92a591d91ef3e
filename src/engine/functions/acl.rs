//! Rights as PostgreSQL writes them, `grantee=letters/grantor`: taken apart, put together, and those that an owner has by
//! default. What a session may really do is in `privileges`.

use super::Argument::{Any, Bool, Int, Text};
use super::lookup::{oid, role_oid};
use super::{Function, Returns};
use crate::catalog::pg_catalog::rows::Cell;
use crate::catalog::visible::View;
use crate::error::{Error, Kind, Result};
use crate::types::Identifier;

const BOOL: u32 = 16;
const TEXT: u32 = 25;
const OID: u32 = 26;
const ACLITEM: u32 = 1033;
const ACLITEMS: u32 = 1034;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::stable(
        "aclexplode",
        &[&[Any]],
        Returns::Records(&[("grantor", OID), ("grantee", OID), ("privilege_type", TEXT), ("is_grantable", BOOL)]),
        exploded,
    ),
    Function::stable("acldefault", &[&[Text, Int]], Returns::TextsOf(ACLITEMS), default),
    Function::stable("makeaclitem", &[&[Int, Int, Text, Bool]], Returns::TextOf(ACLITEM), made),
];

/// By their letters, in the order in which they are written.
const PRIVILEGES: [(char, &str); 14] = [
    ('a', "INSERT"),
    ('r', "SELECT"),
    ('w', "UPDATE"),
    ('d', "DELETE"),
    ('D', "TRUNCATE"),
    ('x', "REFERENCES"),
    ('t', "TRIGGER"),
    ('X', "EXECUTE"),
    ('U', "USAGE"),
    ('C', "CREATE"),
    ('T', "TEMPORARY"),
    ('c', "CONNECT"),
    ('s', "SET"),
    ('A', "ALTER SYSTEM"),
];

fn exploded(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let Some(Cell::List(items)) = arguments.first() else { return Ok(Cell::Null) };
    let mut found = vec![];
    for item in items {
        let Cell::Text(item) = item else { continue };
        let invalid = || Error::new(Kind::InvalidText, format!("invalid ACL: \"{item}\""));
        let (rest, grantor) = item.rsplit_once('/').ok_or_else(invalid)?;
        let (grantee, letters) = rest.rsplit_once('=').ok_or_else(invalid)?;
        let role = |name: &str| role_oid(view, name).unwrap_or(0);
        // nobody's name is everybody
        let grantee = if grantee.is_empty() { 0 } else { role(grantee) };
        let mut letters = letters.chars().peekable();
        while let Some(letter) = letters.next() {
            let (_, privilege) = PRIVILEGES.iter().find(|(l, _)| *l == letter).ok_or_else(invalid)?;
            let grantable = letters.next_if_eq(&'*').is_some();
            found.push(Cell::List(vec![role(grantor).into(), grantee.into(), (*privilege).into(), grantable.into()]));
        }
    }
    Ok(Cell::List(found))
}

fn role_name(view: &View, oid: u32) -> String {
    view.role_name(oid).map_or_else(|| oid.to_string(), |name| Identifier(name).to_string())
}

fn default(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let [Cell::Text(kind), owner] = arguments else { return Ok(Cell::Null) };
    // everybody's, the owner's
    let (public, own) = match kind.as_str() {
        "c" => ("", ""),
        "r" => ("", "arwdDxt"),
        "s" => ("", "rwU"),
        "d" => ("Tc", "CTc"),
        "f" => ("X", "X"),
        "l" | "T" => ("U", "U"),
        "L" => ("", "rw"),
        "n" => ("", "UC"),
        "t" => ("", "C"),
        "F" | "S" => ("", "U"),
        "p" => ("", "sA"),
        other => return Err(Error::internal(format!("unrecognized object type abbreviation: {other}"))),
    };
    let owner = role_name(view, oid(owner).unwrap_or(0));
    let items = [("", public), (owner.as_str(), own)].into_iter().filter(|(_, letters)| !letters.is_empty());
    Ok(Cell::texts(items.map(|(grantee, letters)| format!("{grantee}={letters}/{owner}"))))
}

fn made(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let [grantee, grantor, Cell::Text(privileges), Cell::Bool(grantable)] = arguments else { return Ok(Cell::Null) };
    let mut wanted = vec![];
    for word in privileges.split(',') {
        let word = word.trim();
        let of = PRIVILEGES.iter().find(|(_, name)| name.eq_ignore_ascii_case(word));
        let Some((letter, _)) = of else {
            return Err(Error::new(Kind::InvalidParameter, format!("unrecognized privilege type: \"{word}\"")));
        };
        wanted.push(*letter);
    }
    let mut letters = String::new();
    for (letter, _) in PRIVILEGES.iter().filter(|(letter, _)| wanted.contains(letter)) {
        letters.push(*letter);
        letters.extend(grantable.then_some('*'));
    }
    let name = |of: &Cell| oid(of).filter(|oid| *oid != 0).map_or_else(String::new, |oid| role_name(view, oid));
    Ok(format!("{}={letters}/{}", name(grantee), name(grantor)).into())
}

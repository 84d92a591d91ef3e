//! Roles and who is a member of which: the session's own names, for an admin everybody's. No password is ever here, and
//! nobody who can log in is a superuser: policy binds admins too.

use super::rows::{Cell, Rows};
use crate::catalog::visible::{BOOTSTRAP, Role, View};
use crate::error::Result;

/// What PostgreSQL shows in the place of a password.
const HIDDEN: &str = "********";

fn is_superuser(role: &Role) -> bool {
    role.oid == BOOTSTRAP.1
}

pub(super) fn pg_roles(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for role in &view.roles {
        rows.push([
            ("rolname", (&role.name).into()),
            ("rolsuper", is_superuser(role).into()),
            ("rolinherit", true.into()),
            ("rolcreaterole", is_superuser(role).into()),
            ("rolcreatedb", is_superuser(role).into()),
            ("rolcanlogin", role.login.into()),
            ("rolreplication", false.into()),
            ("rolconnlimit", (-1).into()),
            ("rolpassword", HIDDEN.into()),
            ("rolbypassrls", false.into()),
            ("oid", role.oid.into()),
        ])?;
    }
    Ok(())
}

pub(super) fn pg_authid(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for role in &view.roles {
        rows.push([
            ("oid", role.oid.into()),
            ("rolname", (&role.name).into()),
            ("rolsuper", is_superuser(role).into()),
            ("rolinherit", true.into()),
            ("rolcreaterole", is_superuser(role).into()),
            ("rolcreatedb", is_superuser(role).into()),
            ("rolcanlogin", role.login.into()),
            ("rolconnlimit", (-1).into()),
        ])?;
    }
    Ok(())
}

pub(super) fn pg_user(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    users(view, rows, HIDDEN.into())
}

/// As pg_user, in PostgreSQL with what passwords became.
pub(super) fn pg_shadow(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    users(view, rows, Cell::Null)
}

fn users(view: &View, rows: &mut Rows<'_>, password: Cell) -> Result<()> {
    for role in view.roles.iter().filter(|r| r.login) {
        rows.push([
            ("usename", (&role.name).into()),
            ("usesysid", role.oid.into()),
            ("usecreatedb", false.into()),
            ("usesuper", false.into()),
            ("userepl", false.into()),
            ("usebypassrls", false.into()),
            ("passwd", password.clone()),
        ])?;
    }
    Ok(())
}

/// Roles that nobody logs in as, with their members.
pub(super) fn pg_group(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for role in view.roles.iter().filter(|r| !r.login) {
        let members = view.roles.iter().filter(|member| member.member_of.contains(&role.name));
        rows.push([
            ("groname", (&role.name).into()),
            ("grosysid", role.oid.into()),
            ("grolist", Cell::List(members.map(|member| member.oid.into()).collect())),
        ])?;
    }
    Ok(())
}

pub(super) fn pg_auth_members(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for member in &view.roles {
        for role in &member.member_of {
            rows.push([
                ("roleid", view.role_oid(role).into()),
                ("member", member.oid.into()),
                ("grantor", BOOTSTRAP.1.into()),
            ])?;
        }
    }
    Ok(())
}

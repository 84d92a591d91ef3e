//! pg_roles, pg_user, pg_auth_members: the session's own names, for an admin everybody's. No password is ever here, and
//! nobody who can log in is a superuser: policy binds admins too.

use super::rows::Rows;
use crate::catalog::visible::{BOOTSTRAP, View};
use crate::error::Result;

/// What PostgreSQL shows in the place of a password.
const HIDDEN: &str = "********";

pub(super) fn pg_roles(view: &View, rows: &mut Rows) -> Result<()> {
    for role in &view.roles {
        rows.push([
            ("rolname", (&role.name).into()),
            ("rolsuper", (role.oid == BOOTSTRAP.1).into()),
            ("rolinherit", true.into()),
            ("rolcreaterole", false.into()),
            ("rolcreatedb", false.into()),
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

pub(super) fn pg_user(view: &View, rows: &mut Rows) -> Result<()> {
    for role in view.roles.iter().filter(|r| r.login) {
        rows.push([
            ("usename", (&role.name).into()),
            ("usesysid", role.oid.into()),
            ("usecreatedb", false.into()),
            ("usesuper", false.into()),
            ("userepl", false.into()),
            ("usebypassrls", false.into()),
            ("passwd", HIDDEN.into()),
        ])?;
    }
    Ok(())
}

pub(super) fn pg_auth_members(view: &View, rows: &mut Rows) -> Result<()> {
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

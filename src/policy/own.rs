//! What the server reads for itself, to keep what it stores of tables: all of each table that is named to it, and nothing
//! else. Nobody gets this right by a login: it is of no user, no line of a policy gives it, and it is made here alone. What
//! is read by it is shown to nobody; whoever is answered from what was stored of it is judged by rights of their own.

use std::sync::Arc;

use super::compile::Policies;
use super::decide::SessionPolicy;
use crate::types::ObjectId;

/// No protocol carries a name that begins so.
const USER: &str = "\0server";

/// To read these tables and do nothing to them. It creates nothing, is no admin, and opens no dataset.
pub(crate) fn server_reading(policies: &Arc<Policies>, tables: impl IntoIterator<Item = ObjectId>) -> SessionPolicy {
    SessionPolicy::of_server(Arc::clone(policies), USER, tables.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixture::{EXAMPLE, id, policies, session};
    use crate::policy::{Action, Decision};

    const ACTIONS: [Action; 9] = [
        Action::Select,
        Action::Insert,
        Action::Update,
        Action::Delete,
        Action::Create,
        Action::Drop,
        Action::Refresh,
        Action::Maintain,
        Action::Query,
    ];

    #[test]
    fn it_is_to_read_the_named_tables_and_nothing_else() {
        let policies = policies(EXAMPLE);
        let own = server_reading(&policies, [id("sales.orders")]);
        for object in ["sales.orders", "crm.customers", "hr.pay"] {
            for action in ACTIONS {
                let allowed = match own.decide(id(object), action) {
                    Decision::Allow(grant) => {
                        assert!(grant.is_full());
                        true
                    }
                    Decision::Deny => false,
                };
                assert_eq!(allowed, object == "sales.orders" && action == Action::Select, "{object} {action:?}");
            }
        }
        assert!(!own.is_admin() && !own.may_create("sales") && !own.may_drop_schema("sales") && !own.may_know("sales"));
        assert!(!own.may_query("crm"));
        assert!(own.closure().is_empty());
    }

    #[test]
    fn nobody_logs_in_as_it_and_no_dataset_is_opened_by_it() {
        let policies = policies(EXAMPLE);
        let own = server_reading(&policies, [id("sales.orders")]);
        assert!(policies.session(own.principal()).is_none(), "its principal is nobody's");
        assert!(policies.principal(USER).is_none() && policies.owner(USER).is_none());
        let alice = session(&policies, "alice");
        let through = |a: &SessionPolicy, b: &SessionPolicy| a.through(b, &[], id("sales.orders"));
        assert!(matches!(through(&own, &alice), Decision::Deny) && matches!(through(&alice, &own), Decision::Deny));
    }
}

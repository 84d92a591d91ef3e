//! WITH: with_clause of gram.y. A statement that writes in a CTE is none of ours and is refused as soon as it is seen.

use datafusion::sql::sqlparser::ast::{Cte, CteAsMaterialized, Ident, TableAlias, TableAliasColumnDef, With};

use super::{Naming, Parser};
use crate::error::{Error, Result};

impl Parser<'_> {
    pub(super) fn with_clause(&mut self) -> Result<With> {
        let with_token = self.attached();
        self.expect("with")?;
        // it may also be the name of a query
        let recursive = self.names(Naming::Column, 1) && self.eat("recursive");
        let cte_tables = self.list(Self::cte)?;
        Ok(With { with_token, recursive, cte_tables })
    }

    fn cte(&mut self) -> Result<Cte> {
        let name = self.column_name()?;
        let columns = if self.is_symbol('(') { self.name_list()? } else { vec![] };
        self.expect("as")?;
        let materialized = if self.eat("materialized") {
            Some(CteAsMaterialized::Materialized)
        } else if self.eat("not") {
            self.expect("materialized")?;
            Some(CteAsMaterialized::NotMaterialized)
        } else {
            None
        };
        let (query, closing_paren_token) = self.deeper(|parser| {
            parser.expect_symbol('(')?;
            if let Some("insert" | "update" | "delete" | "merge") = parser.word(0) {
                let at = parser.place(parser.at);
                return Err(Error::unsupported("a data-modifying statement in WITH").at(at));
            }
            let query = parser.query()?;
            let closing = parser.attached();
            parser.expect_symbol(')')?;
            Ok((Box::new(query), closing))
        })?;
        if let Some("search" | "cycle") = self.word(0) {
            self.search_and_cycle()?;
        }
        let alias = TableAlias { explicit: false, name, columns: columns.into_iter().map(column).collect(), at: None };
        Ok(Cte { alias, query, from: None, materialized, closing_paren_token })
    }

    /// SEARCH and CYCLE.
    fn search_and_cycle(&mut self) -> Result<()> {
        let at = self.place(self.at);
        if self.eat("search") {
            if !(self.eat("depth") || self.eat("breadth")) {
                return Err(self.unexpected());
            }
            self.expect_words(&["first", "by"])?;
            self.list(Self::column_name)?;
            self.expect("set")?;
            self.column_name()?;
        }
        if self.eat("cycle") {
            self.list(Self::column_name)?;
            self.expect("set")?;
            self.column_name()?;
            if self.eat("to") {
                self.clause_expr()?;
                self.expect("default")?;
                self.clause_expr()?;
            }
            self.expect("using")?;
            self.column_name()?;
        }
        Err(Error::unsupported("SEARCH or CYCLE of a recursive query").at(at))
    }
}

/// A name of an alias list.
pub(super) fn column(name: Ident) -> TableAliasColumnDef {
    TableAliasColumnDef { name, data_type: None }
}

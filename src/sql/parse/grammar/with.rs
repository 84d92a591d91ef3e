//! WITH: with_clause of gram.y. A statement that writes in a CTE is none of ours and is refused as soon as it is seen.

use datafusion::sql::sqlparser::ast::{
    Cte, CteAsMaterialized, Expr, Ident, Query, Setting, TableAlias, TableAliasColumnDef, Value, With,
};

use super::super::encoding;
use super::expr::Operators;
use super::primary::Primary;
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
        let (mut query, closing_paren_token): (Box<Query>, _) = self.deeper(|parser| {
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
        let mut settings = vec![];
        settings.extend(self.search()?);
        settings.extend(self.cycle()?);
        query.settings = (!settings.is_empty()).then_some(settings);
        let alias = TableAlias { explicit: false, name, columns: columns.into_iter().map(column).collect(), at: None };
        Ok(Cte { alias, query, from: None, materialized, closing_paren_token })
    }

    /// `SEARCH … SET …`, if it stands here.
    fn search(&mut self) -> Result<Option<Setting>> {
        let start = self.at;
        if !self.eat("search") {
            return Ok(None);
        }
        let span = self.span_from(start);
        let depth_first = self.is("depth");
        if !(self.eat("depth") || self.eat("breadth")) {
            return Err(self.unexpected());
        }
        self.expect_words(&["first", "by"])?;
        let columns = self.list(Self::column_name)?;
        self.expect("set")?;
        Ok(Some(encoding::search(depth_first, columns, self.column_name()?, span)))
    }

    /// `CYCLE … USING …`, if it stands here.
    fn cycle(&mut self) -> Result<Option<Setting>> {
        let start = self.at;
        if !self.eat("cycle") {
            return Ok(None);
        }
        let span = self.span_from(start);
        let columns = self.list(Self::column_name)?;
        self.expect("set")?;
        let mark = self.column_name()?;
        let values = if self.eat("to") {
            let value = self.constant()?;
            self.expect("default")?;
            [value, self.constant()?]
        } else {
            [true, false].map(|value| Expr::Value(Value::Boolean(value).into()))
        };
        self.expect("using")?;
        Ok(Some(encoding::cycle(columns, mark, values, self.column_name()?, span)))
    }

    /// AexprConst.
    fn constant(&mut self) -> Result<Expr> {
        let start = self.at;
        match self.primary(Operators::Some)? {
            Primary::Expr(expr @ (Expr::TypedString(_) | Expr::Interval(_))) => Ok(expr),
            Primary::Expr(Expr::Value(value)) if !matches!(value.value, Value::Placeholder(_)) => {
                Ok(Expr::Value(value))
            }
            _ => {
                self.at = start;
                Err(self.unexpected())
            }
        }
    }
}

/// A name of an alias list.
pub(super) fn column(name: Ident) -> TableAliasColumnDef {
    TableAliasColumnDef { name, data_type: None }
}

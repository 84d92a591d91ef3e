//! FROM: table_ref of gram.y with its joins, functions and aliases.

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, FunctionArg, FunctionArguments, Ident, Join, JoinConstraint, JoinOperator, ObjectName,
    Query, SetExpr, StructBracketKind, StructField, TableAlias, TableAliasColumnDef, TableFactor, TableFunctionArgs,
    TableSample, TableSampleKind, TableSampleMethod, TableSampleModifier, TableSampleQuantity, TableVersion,
    TableWithJoins,
};

use super::super::encoding;
use super::with::column;
use super::{Lexeme, Naming, Parser, object_name};
use crate::error::{Error, Kind, Result};

/// What parentheses in FROM hold that begin with a query.
enum Inner {
    Query(Box<Query>),
    Joined(TableFactor),
}

impl Parser<'_> {
    /// table_ref.
    pub(super) fn table_reference(&mut self) -> Result<TableWithJoins> {
        let first = self.factor()?;
        self.joined(first)
    }

    /// All joins that follow a table.
    fn joined(&mut self, relation: TableFactor) -> Result<TableWithJoins> {
        let mut joins = vec![];
        while let Some(join) = self.join()? {
            joins.push(join);
        }
        Ok(TableWithJoins { relation, joins })
    }

    fn join_follows(&self) -> bool {
        matches!(self.word(0), Some("cross" | "natural" | "join" | "inner" | "left" | "right" | "full"))
    }

    fn join(&mut self) -> Result<Option<Join>> {
        let natural = match self.word(0) {
            Some("cross") => {
                self.advance();
                self.expect("join")?;
                let join_operator = JoinOperator::CrossJoin(JoinConstraint::None);
                return Ok(Some(Join { relation: self.factor()?, global: false, join_operator }));
            }
            Some("natural") => {
                self.advance();
                true
            }
            Some("join" | "inner" | "left" | "right" | "full") => false,
            _ => return Ok(None),
        };
        let kind = self.word(0);
        let outer = matches!(kind, Some("left" | "right" | "full"));
        if outer || kind == Some("inner") {
            self.advance();
        }
        let outer_word = outer && self.eat("outer");
        self.expect("join")?;
        let (relation, constraint) = match natural {
            true => (self.factor()?, JoinConstraint::Natural),
            false => self.qualified_operand()?,
        };
        let join_operator = match (kind, outer_word) {
            (Some("inner"), _) => JoinOperator::Inner(constraint),
            (Some("left"), false) => JoinOperator::Left(constraint),
            (Some("left"), true) => JoinOperator::LeftOuter(constraint),
            (Some("right"), false) => JoinOperator::Right(constraint),
            (Some("right"), true) => JoinOperator::RightOuter(constraint),
            (Some("full"), _) => JoinOperator::FullOuter(constraint),
            _ => JoinOperator::Join(constraint),
        };
        Ok(Some(Join { relation, global: false, join_operator }))
    }

    /// What is joined, which may be a join itself (`a JOIN b JOIN c ON … ON …`), and ON or USING.
    fn qualified_operand(&mut self) -> Result<(TableFactor, JoinConstraint)> {
        let relation = self.deeper(|parser| {
            let first = parser.factor()?;
            let whole = parser.joined(first)?;
            Ok(match whole.joins.is_empty() {
                true => whole.relation,
                false => TableFactor::NestedJoin { table_with_joins: Box::new(whole), alias: None },
            })
        })?;
        if self.eat("using") {
            let names = self.name_list()?;
            let mut names: Vec<ObjectName> = names.into_iter().map(|name| object_name(vec![name])).collect();
            if self.eat("as") {
                names.push(encoding::join_alias(self.column_name()?));
            }
            return Ok((relation, JoinConstraint::Using(names)));
        }
        self.expect("on")?;
        Ok((relation, JoinConstraint::On(self.clause_expr()?)))
    }

    fn factor(&mut self) -> Result<TableFactor> {
        let lateral = self.eat("lateral");
        if self.is("xmltable") && self.symbol_ahead(1) == Some('(') {
            return Err(Error::unsupported("XMLTABLE").at(self.place(self.at)));
        }
        if self.is_symbol('(') {
            return match lateral {
                true => {
                    let open = self.at;
                    let query = self.subquery()?;
                    self.derived(query, true, open)
                }
                false => self.parenthesized(),
            };
        }
        if self.are(&["rows", "from"]) {
            return self.rows_from(lateral);
        }
        if let Some(called) = self.function_follows() {
            return self.function(called, lateral);
        }
        if lateral || !self.names(Naming::Column, 0) && self.names(Naming::Function, 0) {
            return self.function(Called::Named, lateral);
        }
        let relation = self.relation()?;
        self.aliased(relation)
    }

    // --- tables

    /// relation_expr: ONLY and the star of a table say nothing where no table has children.
    pub(super) fn relation(&mut self) -> Result<TableFactor> {
        let name = if self.eat("only") {
            if self.eat_symbol('(') {
                let name = self.qualified_name()?;
                self.expect_symbol(')')?;
                name
            } else {
                self.qualified_name()?
            }
        } else {
            let name = self.qualified_name()?;
            if self.is_operator("*") {
                self.advance();
            }
            name
        };
        Ok(table(name, None, false))
    }

    fn aliased(&mut self, mut relation: TableFactor) -> Result<TableFactor> {
        let before = self.table_version()?;
        let found = self.alias()?;
        let behind = if before.is_none() { self.table_version()? } else { None };
        let sampled = if self.is("tablesample") { Some(self.sample()?) } else { None };
        if let TableFactor::Table { alias, version, sample, .. } = &mut relation {
            *alias = found;
            *version = before.or(behind);
            *sample = sampled;
        }
        Ok(relation)
    }

    /// `FOR SYSTEM_TIME AS OF expr` of SQL:2011, and `FOR SYSTEM_VERSION AS OF expr`, before or behind the alias. Another
    /// FOR is a lock's.
    fn table_version(&mut self) -> Result<Option<TableVersion>> {
        let what = match self.ahead(1) {
            Some(token) if self.is("for") && matches!(token.lexeme, Lexeme::Word(None)) => self.slice(token),
            _ => return Ok(None),
        };
        let make = match what.to_ascii_lowercase().as_str() {
            "system_time" => TableVersion::ForSystemTimeAsOf,
            "system_version" => TableVersion::VersionAsOf,
            _ => return Ok(None),
        };
        self.advance();
        self.advance();
        self.expect_words(&["as", "of"])?;
        Ok(Some(make(self.expr()?)))
    }

    fn sample(&mut self) -> Result<TableSampleKind> {
        self.advance();
        let at = self.at;
        let method = self.name(Naming::Function)?;
        let method = self.attributes(method)?;
        let known = match method.last().map(|name| name.value.to_ascii_lowercase()).as_deref() {
            Some("bernoulli") => Some(TableSampleMethod::Bernoulli),
            Some("system") => Some(TableSampleMethod::System),
            _ => None,
        };
        self.expect_symbol('(')?;
        let mut arguments = self.expr_list()?;
        self.expect_symbol(')')?;
        let mut seed = None;
        if self.eat("repeatable") {
            self.expect_symbol('(')?;
            seed = Some(self.expr()?);
            self.expect_symbol(')')?;
        }
        let Some(name) = known else {
            let name = method.last().map_or("", |name| name.value.as_str());
            let text = format!("tablesample method {} does not exist", name.to_ascii_lowercase());
            return Err(self.refused(Kind::UndefinedObject, text, at));
        };
        let value = match arguments.len() {
            1 => arguments.remove(0),
            _ => Expr::Tuple(arguments),
        };
        Ok(TableSampleKind::AfterTableAlias(Box::new(TableSample {
            modifier: TableSampleModifier::TableSample,
            name: Some(name),
            quantity: Some(TableSampleQuantity { parenthesized: true, value, unit: None }),
            seed: None,
            bucket: None,
            offset: seed,
        })))
    }

    // --- parentheses

    fn parenthesized(&mut self) -> Result<TableFactor> {
        let open = self.at;
        if self.starts_query() {
            return match self.inner_table()? {
                Inner::Query(query) => self.derived(query, false, open),
                Inner::Joined(factor) => self.joined_alias(factor),
            };
        }
        let factor = self.deeper(|parser| {
            parser.expect_symbol('(')?;
            let whole = parser.table_reference()?;
            parser.closed_join(whole)
        })?;
        self.joined_alias(factor)
    }

    /// Only a join stands in parentheses of its own.
    fn closed_join(&mut self, whole: TableWithJoins) -> Result<TableFactor> {
        let nested = matches!(whole.relation, TableFactor::NestedJoin { alias: None, .. });
        if whole.joins.is_empty() && !nested {
            return Err(self.unexpected());
        }
        self.expect_symbol(')')?;
        Ok(TableFactor::NestedJoin { table_with_joins: Box::new(whole), alias: None })
    }

    fn joined_alias(&mut self, factor: TableFactor) -> Result<TableFactor> {
        let found = self.alias()?;
        Ok(match factor {
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                TableFactor::NestedJoin { table_with_joins, alias: found }
            }
            other => other,
        })
    }

    /// As for expressions: whether `((SELECT 1)` is a query or the first table of a join shows behind it.
    fn inner_table(&mut self) -> Result<Inner> {
        self.deeper(|parser| {
            parser.expect_symbol('(')?;
            if !parser.is_symbol('(') {
                let query = parser.query()?;
                parser.expect_symbol(')')?;
                return Ok(Inner::Query(Box::new(query)));
            }
            let open = parser.at;
            let first = match parser.inner_table()? {
                Inner::Query(query) if parser.eat_symbol(')') => return Ok(Inner::Query(query)),
                Inner::Query(query) if parser.query_goes_on() => {
                    let query = parser.query_from(*query)?;
                    parser.expect_symbol(')')?;
                    return Ok(Inner::Query(Box::new(query)));
                }
                Inner::Query(query) if parser.names(Naming::Column, 0) || parser.is("as") || parser.join_follows() => {
                    parser.derived(query, false, open)?
                }
                Inner::Query(_) => return Err(parser.unexpected()),
                Inner::Joined(factor) => parser.joined_alias(factor)?,
            };
            let whole = parser.joined(first)?;
            parser.closed_join(whole).map(Inner::Joined)
        })
    }

    /// A subquery whose parentheses open at a token.
    fn derived(&mut self, subquery: Box<Query>, lateral: bool, open: usize) -> Result<TableFactor> {
        let Some(alias) = self.alias()? else {
            if let Some(Lexeme::Fault(_)) = self.lexeme(0) {
                return Err(self.unexpected());
            }
            let (what, example) = match subquery.body.as_ref() {
                SetExpr::Values(_) => ("VALUES", "(VALUES ...) [AS] foo"),
                _ => ("subquery", "(SELECT ...) [AS] foo"),
            };
            let error = self.refused(Kind::Syntax, format!("{what} in FROM must have an alias"), open);
            return Err(error.with_hint(format!("For example, FROM {example}.")));
        };
        Ok(TableFactor::Derived { lateral, subquery, alias: Some(alias), sample: None })
    }

    // --- functions

    /// Whether a function's call begins here, and of which kind.
    fn function_follows(&self) -> Option<Called> {
        let word = self.word(0);
        let parenthesis = self.symbol_ahead(1) == Some('(');
        match word {
            Some(
                "current_date" | "current_role" | "current_user" | "session_user" | "user" | "current_catalog"
                | "current_schema" | "current_time" | "current_timestamp" | "localtime" | "localtimestamp" | "cast",
            ) => return Some(Called::Special),
            Some("collation") => return Some(Called::Special),
            Some(
                "coalesce" | "greatest" | "least" | "nullif" | "extract" | "normalize" | "overlay" | "position"
                | "substring" | "treat" | "trim" | "xmlconcat" | "xmlelement" | "xmlexists" | "xmlforest" | "xmlparse"
                | "xmlpi" | "xmlroot" | "xmlserialize",
            ) if parenthesis => return Some(Called::Special),
            _ => {}
        }
        if parenthesis {
            return self.names(Naming::Function, 0).then_some(Called::Named);
        }
        let mut n = 0;
        if !self.names(Naming::Column, 0) {
            return None;
        }
        while self.symbol_ahead(n + 1) == Some('.') && self.names(Naming::Label, n + 2) {
            n += 2;
        }
        (self.symbol_ahead(n + 1) == Some('(')).then_some(Called::Named)
    }

    fn function(&mut self, called: Called, lateral: bool) -> Result<TableFactor> {
        let expr = self.windowless(called)?;
        let with_ordinality = self.ordinality()?;
        let (expr, alias) = {
            let name = function_name(&expr);
            (expr, self.function_alias(name)?)
        };
        let (name, args) = match simple(expr) {
            Ok(simple) => simple,
            Err(other) => {
                let (name, args) = (encoding::rows_from(), vec![encoding::argument(*other)]);
                return Ok(TableFactor::Function { lateral, name, args, with_ordinality, alias });
            }
        };
        if lateral {
            return Ok(TableFactor::Function { lateral, name, args, with_ordinality, alias });
        }
        let arrays = match name.0.as_slice() {
            [only]
                if only
                    .as_ident()
                    .is_some_and(|i| i.quote_style.is_none() && i.value.eq_ignore_ascii_case("unnest")) =>
            {
                plain_arguments(&args)
            }
            _ => None,
        };
        if let Some(array_exprs) = arrays.filter(|arrays| !arrays.is_empty()) {
            let (with_offset, with_offset_alias) = (false, None);
            return Ok(TableFactor::UNNEST { alias, array_exprs, with_offset, with_offset_alias, with_ordinality });
        }
        let mut factor = table(name, Some(TableFunctionArgs { args, settings: None }), with_ordinality);
        if let TableFactor::Table { alias: slot, .. } = &mut factor {
            *slot = alias;
        }
        Ok(factor)
    }

    /// func_expr_windowless.
    fn windowless(&mut self, called: Called) -> Result<Expr> {
        match called {
            Called::Special => {
                let Some(word) = self.word(0) else { return Err(self.unexpected()) };
                match self.special(word)? {
                    Some(expr) => Ok(expr),
                    None => self.windowless_call(),
                }
            }
            Called::Named => self.windowless_call(),
        }
    }

    fn windowless_call(&mut self) -> Result<Expr> {
        let as_function = self.names(Naming::Function, 0);
        let first = self.name(if self.names(Naming::Column, 0) { Naming::Column } else { Naming::Function })?;
        let path = self.attributes(first)?;
        if !self.is_symbol('(') || path.len() == 1 && !as_function {
            return Err(self.unexpected());
        }
        let arguments = self.arguments()?;
        Ok(super::call::with(object_name(path), FunctionArguments::List(arguments.list)))
    }

    fn ordinality(&mut self) -> Result<bool> {
        // another WITH belongs to what follows
        let here = self.is("with") && matches!(self.word(1), Some("ordinality" | "time"));
        if here {
            self.expect_words(&["with", "ordinality"])?;
        }
        Ok(here)
    }

    fn rows_from(&mut self, lateral: bool) -> Result<TableFactor> {
        self.advance();
        self.advance();
        self.expect_symbol('(')?;
        let args = self.list(|parser| {
            let called = parser.function_follows().unwrap_or(Called::Named);
            let expr = parser.windowless(called)?;
            if !parser.eat("as") {
                return Ok(encoding::argument(expr));
            }
            parser.expect_symbol('(')?;
            let columns = parser.list(Self::column_definition)?;
            parser.expect_symbol(')')?;
            let field = |(name, field_type)| StructField { field_name: Some(name), field_type, options: None };
            let fields = columns.into_iter().map(field).collect();
            let data_type = DataType::Struct(fields, StructBracketKind::Parentheses);
            let kind = CastKind::Cast;
            Ok(encoding::argument(Expr::Cast { kind, expr: Box::new(expr), data_type, array: false, format: None }))
        })?;
        self.expect_symbol(')')?;
        let with_ordinality = self.ordinality()?;
        let name = args.first().and_then(|argument| match argument {
            FunctionArg::Unnamed(datafusion::sql::sqlparser::ast::FunctionArgExpr::Expr(expr)) => function_name(expr),
            _ => None,
        });
        let alias = self.function_alias(name)?;
        Ok(TableFactor::Function { lateral, name: encoding::rows_from(), args, with_ordinality, alias })
    }

    // --- aliases

    /// opt_alias_clause.
    fn alias(&mut self) -> Result<Option<TableAlias>> {
        let explicit = self.eat("as");
        if !explicit && !self.names(Naming::Column, 0) {
            return Ok(None);
        }
        let name = self.column_name()?;
        let columns = if self.is_symbol('(') { self.name_list()? } else { vec![] };
        Ok(Some(TableAlias { explicit, name, columns: columns.into_iter().map(column).collect(), at: None }))
    }

    /// func_alias_clause: its columns may have types. Without a name they stand under the function's.
    fn function_alias(&mut self, function: Option<Ident>) -> Result<Option<TableAlias>> {
        let explicit = self.eat("as");
        if explicit && self.is_symbol('(') {
            let columns = self.column_definitions()?;
            let name = function.unwrap_or_else(|| Ident::new("?column?"));
            return Ok(Some(TableAlias { explicit, name, columns, at: None }));
        }
        if !explicit && !self.names(Naming::Column, 0) {
            return Ok(None);
        }
        let name = self.column_name()?;
        let columns = match self.is_symbol('(') {
            true if self.names(Naming::Column, 1) && !matches!(self.symbol_ahead(2), Some(',' | ')')) => {
                self.column_definitions()?
            }
            true => self.name_list()?.into_iter().map(column).collect(),
            false => vec![],
        };
        Ok(Some(TableAlias { explicit, name, columns, at: None }))
    }

    fn column_definitions(&mut self) -> Result<Vec<TableAliasColumnDef>> {
        self.expect_symbol('(')?;
        let columns = self.list(Self::column_definition)?;
        self.expect_symbol(')')?;
        let definition = |(name, data_type)| TableAliasColumnDef { name, data_type: Some(data_type) };
        Ok(columns.into_iter().map(definition).collect())
    }

    /// TableFuncElement.
    fn column_definition(&mut self) -> Result<(Ident, DataType)> {
        let name = self.column_name()?;
        let data_type = self.type_name()?;
        if self.eat("collate") {
            self.any_name()?;
        }
        Ok((name, data_type))
    }
}

#[derive(Clone, Copy)]
enum Called {
    /// With a syntax of its own.
    Special,
    Named,
}

fn function_name(expr: &Expr) -> Option<Ident> {
    match expr {
        Expr::Function(function) => function.name.0.last().and_then(|part| part.as_ident().cloned()),
        Expr::Cast { expr, .. } => function_name(expr),
        _ => None,
    }
}

/// A call that has nothing but arguments; the expression itself where it is another one.
fn simple(expr: Expr) -> Result<(ObjectName, Vec<FunctionArg>), Box<Expr>> {
    match expr {
        Expr::Function(function) => match function.args {
            FunctionArguments::List(list) if list.duplicate_treatment.is_none() && list.clauses.is_empty() => {
                Ok((function.name, list.args))
            }
            args => Err(Box::new(super::call::with(function.name, args))),
        },
        other => Err(Box::new(other)),
    }
}

fn plain_arguments(arguments: &[FunctionArg]) -> Option<Vec<Expr>> {
    use datafusion::sql::sqlparser::ast::FunctionArgExpr;
    let each = arguments.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) if encoding::unmarked(encoding::VARIADIC, expr).is_none() => {
            Some(expr.clone())
        }
        _ => None,
    });
    each.collect()
}

pub(super) fn table(name: ObjectName, args: Option<TableFunctionArgs>, with_ordinality: bool) -> TableFactor {
    TableFactor::Table {
        name,
        alias: None,
        args,
        with_hints: vec![],
        version: None,
        with_ordinality,
        partitions: vec![],
        json_path: None,
        sample: None,
        index_hints: vec![],
    }
}

//! Queries: SelectStmt of gram.y with its clauses, and how the clauses of parentheses and of what stands in them become
//! one (`insertSelectOptions`).

use datafusion::sql::sqlparser::ast::AccessExpr;
use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Fetch, GroupByExpr, Ident, LimitClause, LockClause, LockType, NonBlock, Offset, OffsetRows,
    OrderBy, OrderByExpr, OrderByKind, OrderByOptions, Parens, Query, Select, SelectFlavor, SelectInto, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier, TableFactor, TableWithJoins, UnaryOperator,
    Values, WildcardAdditionalOptions, With,
};

use super::super::change::Change;
use super::super::encoding::{self, GROUP_DISTINCT};
use super::{Lexeme, Naming, Parser};
use crate::error::{Error, Kind, Result};

/// What a statement may be that begins as queries do.
pub(in crate::sql::parse) enum Whole {
    Query(Box<Query>),
    Change(Box<Change>),
}

/// What may follow a query's body, with the token that it begins at.
#[derive(Default)]
struct Options {
    order_by: Option<(Vec<OrderByExpr>, usize)>,
    limit: Option<(Option<Expr>, usize)>,
    offset: Option<(Offset, usize)>,
    fetch: Option<(Fetch, usize)>,
    locks: Vec<LockClause>,
    skip_locked: bool,
}

impl Parser<'_> {
    /// select_no_parens, or a query in parentheses with what may follow it.
    pub(in crate::sql::parse) fn query(&mut self) -> Result<Query> {
        match self.query_or_change()? {
            Whole::Query(query) => Ok(*query),
            // only where no query can begin so
            Whole::Change(_) => Err(self.unexpected()),
        }
    }

    /// A whole statement: a query, or one that changes rows, whose WITH looks like a query's.
    pub(in crate::sql::parse) fn query_or_change(&mut self) -> Result<Whole> {
        let start = self.at;
        let with = if self.is("with") { Some(self.with_clause()?) } else { None };
        if with.is_some() && self.begins_change() {
            return Ok(Whole::Change(Box::new(self.change(with)?)));
        }
        let body = self.set_operations(None, 1)?;
        Ok(Whole::Query(Box::new(self.with_options(with.map(|with| (with, start)), body)?)))
    }

    /// The same of which a part in parentheses is read.
    pub(super) fn query_from(&mut self, first: Query) -> Result<Query> {
        let body = self.set_operations(Some(SetExpr::Query(Box::new(first))), 1)?;
        self.with_options(None, body)
    }

    /// Whether the query in the parentheses before goes on.
    pub(super) fn query_goes_on(&self) -> bool {
        matches!(self.word(0), Some("union" | "intersect" | "except" | "order" | "limit" | "offset" | "fetch" | "for"))
    }

    fn with_options(&mut self, with: Option<(With, usize)>, body: SetExpr) -> Result<Query> {
        let options = self.options()?;
        let SetExpr::Query(inner) = body else {
            return self.completed(bare(body), with, options);
        };
        self.completed(*inner, with, options)
    }

    /// `insertSelectOptions`.
    fn completed(&self, mut query: Query, with: Option<(With, usize)>, options: Options) -> Result<Query> {
        let twice = |what: &str, token: usize| {
            Err(self.refused(Kind::Syntax, format!("multiple {what} clauses not allowed"), token))
        };
        if let Some((order_by, token)) = options.order_by {
            if query.order_by.is_some() {
                return twice("ORDER BY", token);
            }
            query.order_by = Some(OrderBy { kind: OrderByKind::Expressions(order_by), interpolate: None });
        }
        query.locks.extend(options.locks);
        let (inner_limit, inner_offset) = match query.limit_clause.take() {
            Some(LimitClause::LimitOffset { limit, offset, .. }) => (limit, offset),
            Some(LimitClause::OffsetCommaLimit { .. }) | None => (None, None),
        };
        let offset = match (options.offset, inner_offset) {
            (Some((_, token)), Some(_)) => return twice("OFFSET", token),
            (Some((offset, _)), None) => Some(offset),
            (None, inner) => inner,
        };
        let given = options.limit.as_ref().map(|(_, token)| *token);
        let given = given.or(options.fetch.as_ref().map(|(_, token)| *token));
        if let Some(token) = given
            && (inner_limit.is_some() || query.fetch.is_some())
        {
            return twice("LIMIT", token);
        }
        let limit = options.limit.and_then(|(limit, _)| limit).or(inner_limit);
        if limit.is_some() || offset.is_some() {
            query.limit_clause = Some(LimitClause::LimitOffset { limit, offset, limit_by: vec![] });
        }
        if let Some((fetch, _)) = options.fetch {
            if fetch.with_ties && query.order_by.is_none() {
                let text = "WITH TIES cannot be specified without ORDER BY clause";
                return Err(Error::new(Kind::Syntax, text));
            }
            if fetch.with_ties && options.skip_locked {
                let text = "SKIP LOCKED and WITH TIES options cannot be used together";
                return Err(Error::new(Kind::Syntax, text));
            }
            query.fetch = Some(fetch);
        }
        if let Some((with, token)) = with {
            if query.with.is_some() {
                return twice("WITH", token);
            }
            query.with = Some(with);
        }
        Ok(query)
    }

    // --- set operations

    /// select_clause: INTERSECT binds tighter than UNION and EXCEPT.
    fn set_operations(&mut self, first: Option<SetExpr>, min: u8) -> Result<SetExpr> {
        let mut left = match first {
            Some(first) => first,
            None => self.simple_select()?,
        };
        loop {
            let (op, level) = match self.word(0) {
                Some("union") => (SetOperator::Union, 1),
                Some("except") => (SetOperator::Except, 1),
                Some("intersect") => (SetOperator::Intersect, 2),
                _ => return Ok(left),
            };
            if level < min {
                return Ok(left);
            }
            self.advance();
            let set_quantifier = match self.word(0) {
                Some("all") => SetQuantifier::All,
                Some("distinct") => SetQuantifier::Distinct,
                _ => SetQuantifier::None,
            };
            if set_quantifier != SetQuantifier::None {
                self.advance();
            }
            let right = self.set_operations(None, level + 1)?;
            left = SetExpr::SetOperation { left: Box::new(left), op, set_quantifier, right: Box::new(right) };
        }
    }

    fn simple_select(&mut self) -> Result<SetExpr> {
        match self.word(0) {
            Some("select") => self.select().map(|select| SetExpr::Select(Box::new(select))),
            Some("values") => self.values().map(SetExpr::Values),
            Some("table") => self.table().map(|select| SetExpr::Select(Box::new(select))),
            _ if self.is_symbol('(') => self.subquery().map(SetExpr::Query),
            _ => Err(self.unexpected()),
        }
    }

    fn values(&mut self) -> Result<Values> {
        self.expect("values")?;
        let rows = self.list(|parser| {
            let opening_token = parser.attached();
            parser.expect_symbol('(')?;
            let content = parser.expr_list()?;
            let closing_token = parser.attached();
            parser.expect_symbol(')')?;
            Ok(Parens { opening_token, content, closing_token })
        })?;
        Ok(Values { explicit_row: false, value_keyword: false, rows })
    }

    /// `TABLE t` is `SELECT * FROM t`.
    fn table(&mut self) -> Result<Select> {
        let select_token = self.attached();
        self.expect("table")?;
        let relation = self.relation()?;
        Ok(all_of(relation, select_token))
    }

    fn select(&mut self) -> Result<Select> {
        let mut select = empty(self.attached());
        self.expect("select")?;
        select.distinct = self.distinct()?;
        let may_be_empty = !matches!(select.distinct, Some(Distinct::Distinct | Distinct::On(_)));
        if !(may_be_empty && self.ends_target(0)) {
            select.projection = self.list(Self::target)?;
        }
        select.into = self.target_table()?;
        if self.eat("from") {
            select.from = self.list(Self::table_reference)?;
        }
        if self.eat("where") {
            select.selection = Some(self.clause_expr()?);
        }
        if self.eat("group") {
            self.expect("by")?;
            select.group_by = self.group_clause()?;
        }
        if self.eat("having") {
            select.having = Some(self.clause_expr()?);
        }
        select.named_window = self.window_clause()?;
        Ok(select)
    }

    fn distinct(&mut self) -> Result<Option<Distinct>> {
        if self.eat("all") {
            return Ok(None);
        }
        if !self.eat("distinct") {
            return Ok(None);
        }
        if !self.eat("on") {
            return Ok(Some(Distinct::Distinct));
        }
        self.expect_symbol('(')?;
        let keys = self.expr_list()?;
        self.expect_symbol(')')?;
        Ok(Some(Distinct::On(keys)))
    }

    /// Whether a target list ends before the n-th token from here.
    pub(super) fn ends_target(&self, n: usize) -> bool {
        match self.lexeme(n) {
            Some(Lexeme::End) | None => true,
            Some(Lexeme::Symbol(symbol)) => matches!(symbol, ',' | ')' | ';'),
            Some(Lexeme::Word(_)) => matches!(
                self.word(n),
                Some(
                    "into"
                        | "from"
                        | "where"
                        | "group"
                        | "having"
                        | "window"
                        | "union"
                        | "intersect"
                        | "except"
                        | "order"
                        | "limit"
                        | "offset"
                        | "fetch"
                        | "for"
                        | "on"
                        | "returning"
                        | "with"
                )
            ),
            _ => false,
        }
    }

    pub(super) fn target(&mut self) -> Result<SelectItem> {
        if self.is_operator("*") {
            let star = WildcardAdditionalOptions { wildcard_token: self.attached(), ..Default::default() };
            self.advance();
            return Ok(SelectItem::Wildcard(star));
        }
        let expr = self.target_expr()?;
        let alias = if self.eat("as") {
            Some(self.name(Naming::Label)?)
        } else if self.names(Naming::BareLabel, 0) {
            Some(self.name(Naming::BareLabel)?)
        } else {
            None
        };
        Ok(item(expr, alias))
    }

    fn target_table(&mut self) -> Result<Option<SelectInto>> {
        if !self.eat("into") {
            return Ok(None);
        }
        let scope = self.is("local") || self.is("global");
        if scope {
            self.advance();
        }
        let temporary = self.is("temporary") || self.is("temp");
        let unlogged = !scope && self.is("unlogged");
        if temporary || unlogged {
            self.advance();
        } else if scope {
            return Err(self.unexpected());
        }
        let table = self.eat("table");
        Ok(Some(SelectInto { temporary, unlogged, table, name: self.qualified_name()? }))
    }

    // --- GROUP BY

    fn group_clause(&mut self) -> Result<GroupByExpr> {
        let distinct = self.eat("distinct");
        if !distinct {
            self.eat("all");
        }
        let mut list = self.list(Self::group_item)?;
        if distinct && let Some(first) = list.first_mut() {
            let element = std::mem::replace(first, Expr::Tuple(vec![]));
            *first = encoding::marked(GROUP_DISTINCT, element);
        }
        Ok(GroupByExpr::Expressions(list, vec![]))
    }

    fn group_item(&mut self) -> Result<Expr> {
        let parenthesis = self.symbol_ahead(1) == Some('(');
        match self.word(0) {
            Some("cube") if parenthesis => {
                self.advance();
                self.grouped_lists().map(Expr::Cube)
            }
            Some("rollup") if parenthesis => {
                self.advance();
                self.grouped_lists().map(Expr::Rollup)
            }
            Some("grouping") if self.word(1) == Some("sets") => {
                self.advance();
                self.advance();
                self.deeper(|parser| {
                    parser.expect_symbol('(')?;
                    let sets = parser.list(Self::group_item)?;
                    parser.expect_symbol(')')?;
                    Ok(Expr::GroupingSets(sets.into_iter().map(columns_of_set).collect()))
                })
            }
            // the empty grouping set
            _ if self.is_symbol('(') && self.symbol_ahead(1) == Some(')') => {
                self.advance();
                self.advance();
                Ok(Expr::Tuple(vec![]))
            }
            _ => self.clause_expr(),
        }
    }

    /// `(a, (b, c))` of CUBE and ROLLUP.
    fn grouped_lists(&mut self) -> Result<Vec<Vec<Expr>>> {
        self.expect_symbol('(')?;
        let list = self.expr_list()?;
        self.expect_symbol(')')?;
        Ok(list.into_iter().map(columns_of_set).collect())
    }

    // --- ORDER BY, LIMIT, FOR

    fn options(&mut self) -> Result<Options> {
        let mut options = Options::default();
        if self.is("order") {
            let first = self.at + 2;
            options.order_by = Some((self.sort_clause()?, first));
        }
        if self.is("for") {
            self.locking(&mut options)?;
            self.limits(&mut options)?;
        } else {
            self.limits(&mut options)?;
            self.locking(&mut options)?;
        }
        Ok(options)
    }

    pub(super) fn sort_key(&mut self) -> Result<OrderByExpr> {
        let expr = self.clause_expr()?;
        let mut options = OrderByOptions { asc: None, nulls_first: None };
        let mut expr = expr;
        if self.eat("using") {
            let start = self.at;
            let operator = self.any_operator()?;
            match operator.as_str() {
                "<" => options.asc = Some(true),
                ">" => options.asc = Some(false),
                other => expr = encoding::order_using(other, expr, self.span_from(start)),
            }
        } else if self.eat("asc") {
            options.asc = Some(true);
        } else if self.eat("desc") {
            options.asc = Some(false);
        }
        if self.is("nulls") && matches!(self.word(1), Some("first" | "last")) {
            options.nulls_first = Some(self.word(1) == Some("first"));
            self.advance();
            self.advance();
        }
        Ok(OrderByExpr { expr, options, with_fill: None })
    }

    /// qual_all_Op, with pg_catalog's without their schema.
    fn any_operator(&mut self) -> Result<String> {
        if self.operator_ahead(0).is_none() && !self.is("operator") {
            return Err(self.unexpected());
        }
        let path = self.operator_name()?;
        Ok(match path.as_slice() {
            [schema, name] if schema == "pg_catalog" => name.clone(),
            path => path.join("."),
        })
    }

    fn limits(&mut self, options: &mut Options) -> Result<()> {
        loop {
            match self.word(0) {
                Some("limit") if options.limit.is_none() && options.fetch.is_none() => {
                    let start = self.at;
                    self.advance();
                    let first = self.at;
                    let limit = if self.eat("all") { None } else { Some(self.clause_expr()?) };
                    if self.eat_symbol(',') {
                        self.clause_expr()?;
                        let error = self.refused(Kind::Syntax, "LIMIT #,# syntax is not supported", start);
                        return Err(error.with_hint("Use separate LIMIT and OFFSET clauses."));
                    }
                    options.limit = Some((limit, first));
                }
                Some("fetch") if options.limit.is_none() && options.fetch.is_none() => {
                    self.advance();
                    let fetch = self.fetch()?;
                    options.fetch = Some(fetch);
                }
                Some("offset") if options.offset.is_none() => {
                    self.advance();
                    let first = self.at;
                    let (value, rows) = self.offset()?;
                    options.offset = Some((Offset { value, rows }, first));
                }
                _ => return Ok(()),
            }
        }
    }

    /// Behind FETCH.
    fn fetch(&mut self) -> Result<(Fetch, usize)> {
        if !(self.eat("first") || self.eat("next")) {
            return Err(self.unexpected());
        }
        let first = self.at;
        let quantity = match self.word(0) {
            Some("row" | "rows") if matches!(self.word(1), Some("only" | "with")) => None,
            _ => Some(self.row_count()?),
        };
        if !(self.eat("row") || self.eat("rows")) {
            return Err(self.unexpected());
        }
        let with_ties = self.is("with");
        match with_ties {
            true => self.expect_words(&["with", "ties"])?,
            false => self.expect("only")?,
        }
        Ok((Fetch { with_ties, percent: false, quantity }, first))
    }

    /// select_fetch_first_value: no operators but a number's sign.
    fn row_count(&mut self) -> Result<Expr> {
        let sign = match self.operator_ahead(0) {
            Some("+") => Some(UnaryOperator::Plus),
            Some("-") => Some(UnaryOperator::Minus),
            _ => None,
        };
        if let Some(op) = sign {
            self.advance();
            if !matches!(self.lexeme(0), Some(Lexeme::Integer | Lexeme::Number)) {
                return Err(self.unexpected());
            }
            let number = self.operand_alone()?;
            return Ok(Expr::UnaryOp { op, expr: Box::new(number) });
        }
        self.operand_alone()
    }

    /// c_expr.
    fn operand_alone(&mut self) -> Result<Expr> {
        use super::primary::Primary;
        match self.primary(super::expr::Operators::Some)? {
            Primary::Expr(expr) | Primary::Row(expr) => Ok(expr),
        }
    }

    /// `OFFSET n`, `OFFSET 1 ROWS`.
    fn offset(&mut self) -> Result<(Expr, OffsetRows)> {
        let signed = matches!(self.operator_ahead(0), Some("+" | "-"))
            && matches!(self.lexeme(1), Some(Lexeme::Integer | Lexeme::Number))
            && matches!(self.word(2), Some("row" | "rows"));
        let value = match signed || self.operator_ahead(0).is_none() && !self.is("not") {
            true => self.row_count()?,
            false => return Ok((self.clause_expr()?, OffsetRows::None)),
        };
        if self.eat("row") {
            return Ok((value, OffsetRows::Row));
        }
        if self.eat("rows") {
            return Ok((value, OffsetRows::Rows));
        }
        Ok((self.expr_from(value)?, OffsetRows::None))
    }

    fn locking(&mut self, options: &mut Options) -> Result<()> {
        if self.are(&["for", "read"]) {
            self.advance();
            self.advance();
            return self.expect("only");
        }
        while self.eat("for") {
            let lock_type = match self.word(0) {
                Some("update") => LockType::Update,
                Some("share") => LockType::Share,
                Some("no") => {
                    self.expect_words(&["no", "key"])?;
                    LockType::Update
                }
                Some("key") => {
                    self.expect("key")?;
                    LockType::Share
                }
                _ => return Err(self.unexpected()),
            };
            self.expect(if matches!(lock_type, LockType::Update) { "update" } else { "share" })?;
            let of = match self.eat("of") {
                true => self.list(Self::qualified_name)?.into_iter().map(Some).collect(),
                false => vec![None],
            };
            let nonblock = if self.eat("nowait") {
                Some(NonBlock::Nowait)
            } else if self.eat("skip") {
                self.expect("locked")?;
                options.skip_locked = true;
                Some(NonBlock::SkipLocked)
            } else {
                None
            };
            options.locks.extend(of.into_iter().map(|of| LockClause { lock_type, of, nonblock }));
        }
        Ok(())
    }
}

/// `(a, b)` in a list of grouping sets is a set of two.
fn columns_of_set(element: Expr) -> Vec<Expr> {
    match element {
        Expr::Tuple(items) => items,
        Expr::Nested(one) => vec![*one],
        one => vec![one],
    }
}

/// A target: stars are items of their own.
fn item(expr: Expr, alias: Option<Ident>) -> SelectItem {
    match (expr, alias) {
        (Expr::QualifiedWildcard(name, wildcard_token), _) => {
            let star = WildcardAdditionalOptions { wildcard_token, ..Default::default() };
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), star)
        }
        (Expr::CompoundFieldAccess { root, mut access_chain }, alias) => {
            let Some(AccessExpr::Dot(Expr::Wildcard(wildcard_token))) = access_chain.last().cloned() else {
                return plain(Expr::CompoundFieldAccess { root, access_chain }, alias);
            };
            access_chain.pop();
            let star = WildcardAdditionalOptions { wildcard_token, ..Default::default() };
            let record = match access_chain.is_empty() {
                true => *root,
                false => Expr::CompoundFieldAccess { root, access_chain },
            };
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(record), star)
        }
        (expr, alias) => plain(expr, alias),
    }
}

fn plain(expr: Expr, alias: Option<Ident>) -> SelectItem {
    match alias {
        Some(alias) => SelectItem::ExprWithAlias { expr, alias },
        None => SelectItem::UnnamedExpr(expr),
    }
}

/// A query that is its body.
pub(crate) fn bare(body: SetExpr) -> Query {
    Query {
        with: None,
        body: Box::new(body),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: vec![],
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: vec![],
    }
}

/// `SELECT * FROM relation`.
pub(super) fn all_of(relation: TableFactor, select_token: AttachedToken) -> Select {
    let star = WildcardAdditionalOptions { wildcard_token: select_token.clone(), ..Default::default() };
    Select {
        projection: vec![SelectItem::Wildcard(star)],
        from: vec![TableWithJoins { relation, joins: vec![] }],
        ..empty(select_token)
    }
}

pub(super) fn empty(select_token: AttachedToken) -> Select {
    Select {
        select_token,
        optimizer_hints: vec![],
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: vec![],
        exclude: None,
        into: None,
        from: vec![],
        lateral_views: vec![],
        prewhere: None,
        selection: None,
        connect_by: vec![],
        group_by: GroupByExpr::Expressions(vec![], vec![]),
        cluster_by: vec![],
        distribute_by: vec![],
        sort_by: vec![],
        having: None,
        named_window: vec![],
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    }
}

//! Words of Spark, Trino, Dremio and MySQL that PostgreSQL does not have, as PostgreSQL says them. Each is found only where
//! pg_proc has no function of that name.

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, CastKind, DataType, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart, OrderByExpr, OrderByOptions, Value,
};

/// What `function` means; `None` where it is no such word, or has other arguments.
pub(super) fn meaning(name: &str, function: &Function) -> Option<Expr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let arguments: Option<Vec<&Expr>> = list.args.iter().map(plain).collect();
    let arguments = arguments.filter(|_| list.clauses.is_empty())?;
    let own = |expr: &Expr| expr.clone();
    let meant = match (name, arguments.as_slice()) {
        ("ifnull" | "nvl", [a, b]) => call("coalesce", vec![own(a), own(b)]),
        ("if" | "iff", [condition, a, b]) => case(condition, a, b),
        ("datediff", [a, b]) => binary(as_date(a), BinaryOperator::Minus, as_date(b)),
        ("date_add", [date, days]) if !is_interval(days) => binary(as_date(date), BinaryOperator::Plus, own(days)),
        ("date_sub", [date, days]) if !is_interval(days) => binary(as_date(date), BinaryOperator::Minus, own(days)),
        ("date_add", [a, b]) => binary(own(a), BinaryOperator::Plus, own(b)),
        ("date_sub", [a, b]) => binary(own(a), BinaryOperator::Minus, own(b)),
        ("date_format", [at, pattern]) => call("to_char", vec![own(at), text(&template(&constant(pattern)?)?)]),
        ("len", [a]) => call("length", vec![own(a)]),
        ("year" | "month" | "day" | "hour" | "minute" | "quarter", [at]) => {
            cast(call("date_part", vec![text(name), own(at)]), DataType::Integer(None))
        }
        ("dayofmonth", [at]) => cast(call("date_part", vec![text("day"), own(at)]), DataType::Integer(None)),
        ("approx_distinct" | "approx_count_distinct" | "ndv", [a]) => {
            aggregate(function, "count", vec![own(a)], true, vec![])
        }
        ("median" | "approx_median", [a]) => {
            let half = Expr::Value(Value::Number("0.5".into(), false).into());
            aggregate(function, "percentile_cont", vec![half], false, vec![own(a)])
        }
        ("any_value", [a]) => aggregate(function, "min", vec![own(a)], false, vec![]),
        ("unix_timestamp", [at]) => cast(call("date_part", vec![text("epoch"), own(at)]), DataType::BigInt(None)),
        ("from_unixtime", [seconds]) => call("to_timestamp", vec![own(seconds)]),
        _ => return None,
    };
    Some(Expr::Nested(Box::new(meant)))
}

fn plain(argument: &FunctionArg) -> Option<&Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

fn is_interval(expr: &Expr) -> bool {
    matches!(expr, Expr::Interval(_))
}

fn text(value: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.to_owned()).into())
}

fn constant(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

fn as_date(expr: &Expr) -> Expr {
    cast(expr.clone(), DataType::Date)
}

fn case(condition: &Expr, yes: &Expr, no: &Expr) -> Expr {
    Expr::Case {
        case_token: ast::helpers::attached_token::AttachedToken::empty(),
        end_token: ast::helpers::attached_token::AttachedToken::empty(),
        operand: None,
        conditions: vec![ast::CaseWhen { condition: condition.clone(), result: yes.clone() }],
        else_result: Some(Box::new(no.clone())),
    }
}

fn named(name: &str) -> ObjectName {
    let ident = |word: &str| ObjectNamePart::Identifier(Ident::new(word));
    ObjectName(vec![ident("pg_catalog"), ident(name)])
}

fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    // COALESCE is grammar, and has no schema
    let name =
        if name == "coalesce" { ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]) } else { named(name) };
    Expr::Function(Function {
        name,
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: list(arguments, false),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

fn aggregate(of: &Function, name: &str, arguments: Vec<Expr>, distinct: bool, within: Vec<Expr>) -> Expr {
    let options = OrderByOptions { asc: None, nulls_first: None };
    let order = |expr| OrderByExpr { expr, options, with_fill: None };
    Expr::Function(Function {
        name: named(name),
        args: list(arguments, distinct),
        within_group: within.into_iter().map(order).collect(),
        ..of.clone()
    })
}

fn list(arguments: Vec<Expr>, distinct: bool) -> FunctionArguments {
    FunctionArguments::List(FunctionArgumentList {
        duplicate_treatment: distinct.then_some(DuplicateTreatment::Distinct),
        args: arguments.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect(),
        clauses: vec![],
    })
}

/// `%Y-%m-%d` of MySQL and Trino, `yyyy-MM-dd` of Spark, as a template of to_char. `None` for a field that has none there.
fn template(pattern: &str) -> Option<String> {
    let quoted = |c: char| if c.is_ascii_alphabetic() { format!("\"{c}\"") } else { c.to_string() };
    let mut out = String::new();
    let mut rest = pattern;
    if pattern.contains('%') {
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            if c != '%' {
                out.push_str(&quoted(c));
                continue;
            }
            let field = rest.chars().next()?;
            rest = &rest[field.len_utf8()..];
            out.push_str(match field {
                'Y' => "YYYY",
                'y' => "YY",
                'm' => "MM",
                'c' => "FMMM",
                'd' => "DD",
                'e' => "FMDD",
                'H' => "HH24",
                'h' | 'I' => "HH12",
                'i' => "MI",
                's' | 'S' => "SS",
                'f' => "US",
                'M' => "FMMonth",
                'b' => "Mon",
                'W' => "FMDay",
                'a' => "Dy",
                'j' => "DDD",
                'p' => "AM",
                'T' => "HH24:MI:SS",
                '%' => "%",
                _ => return None,
            });
        }
        return Some(out);
    }
    while let Some(c) = rest.chars().next() {
        let run = rest.chars().take_while(|d| *d == c).count();
        let field = match (c, run) {
            ('y', 4) => "YYYY",
            ('y', 2) => "YY",
            ('M', 2) => "MM",
            ('M', 1) => "FMMM",
            ('M', 3) => "Mon",
            ('M', 4) => "FMMonth",
            ('d', 2) => "DD",
            ('d', 1) => "FMDD",
            ('H', 2) => "HH24",
            ('h', 2) => "HH12",
            ('m', 2) => "MI",
            ('s', 2) => "SS",
            ('S', 3) => "MS",
            ('S', 6) => "US",
            ('E', 3) => "Dy",
            ('E', 4) => "FMDay",
            ('a', 1) => "AM",
            (c, _) if c.is_ascii_alphabetic() => return None,
            (c, run) => {
                out.extend(std::iter::repeat_n(c, run));
                rest = &rest[c.len_utf8() * run..];
                continue;
            }
        };
        out.push_str(field);
        rest = &rest[run..];
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::template;

    #[test]
    fn patterns_of_others_are_templates_of_to_char() {
        let rows = [
            ("%Y-%m-%d %H:%i:%s", Some("YYYY-MM-DD HH24:MI:SS")),
            ("yyyy-MM-dd HH:mm:ss.SSS", Some("YYYY-MM-DD HH24:MI:SS.MS")),
            ("%Yx%m", Some("YYYY\"x\"MM")),
            ("yyyy-QQ", None),
            ("%k", None),
        ];
        for (pattern, expect) in rows {
            assert_eq!(template(pattern).as_deref(), expect, "{pattern}");
        }
    }
}

//! jsonpath_out: PostgreSQL's own spelling of a path.

use std::fmt::Write;

use super::{Comparison, Flags, Kind, LAST, Node, Path};
use crate::formats::postgres::input::json::write_string;

pub(super) fn print(path: &Path) -> String {
    let mut out = String::new();
    if !path.lax {
        out.push_str("strict ");
    }
    node(&path.root, false, true, &mut out);
    out
}

/// How tight an operator binds; what binds no tighter than its parent stands in brackets.
fn priority(kind: &Kind) -> u8 {
    match kind {
        Kind::Or(..) => 0,
        Kind::And(..) => 1,
        Kind::Compare(..) | Kind::StartsWith(..) => 2,
        Kind::Arithmetic(super::Arithmetic::Add | super::Arithmetic::Subtract, ..) => 3,
        Kind::Arithmetic(..) => 4,
        Kind::Sign { .. } => 5,
        _ => 6,
    }
}

fn node(it: &Node, in_key: bool, brackets: bool, out: &mut String) {
    let below = |child: &Node| priority(&child.kind) <= priority(&it.kind);
    let dot = |out: &mut String| {
        if in_key {
            out.push('.');
        }
    };
    let infix = |left: &Node, sign: &str, right: &Node, out: &mut String| {
        if brackets {
            out.push('(');
        }
        node(left, false, below(left), out);
        out.push(' ');
        out.push_str(sign);
        out.push(' ');
        node(right, false, below(right), out);
        if brackets {
            out.push(')');
        }
    };
    match &it.kind {
        Kind::Null => out.push_str("null"),
        Kind::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Kind::Number(text) if it.next.is_some() => {
            out.push('(');
            out.push_str(text);
            out.push(')');
        }
        Kind::Number(text) => out.push_str(text),
        Kind::String(text) => write_string(text, out),
        Kind::Variable(name) => {
            out.push('$');
            write_string(name, out);
        }
        Kind::Root => out.push('$'),
        Kind::Current => out.push('@'),
        Kind::Last => out.push_str("last"),
        Kind::Key(key) => {
            dot(out);
            write_string(key, out);
        }
        Kind::AnyKey => {
            dot(out);
            out.push('*');
        }
        Kind::AnyArray => out.push_str("[*]"),
        Kind::Any { first, last } => {
            dot(out);
            out.push_str("**");
            // Writing into a String cannot fail.
            let _ = match (*first, *last) {
                (0, LAST) => Ok(()),
                (LAST, LAST) => out.write_str("{last}"),
                (first, last) if first == last => write!(out, "{{{first}}}"),
                (LAST, last) => write!(out, "{{last to {last}}}"),
                (first, LAST) => write!(out, "{{{first} to last}}"),
                (first, last) => write!(out, "{{{first} to {last}}}"),
            };
        }
        Kind::Subscripts(all) => {
            out.push('[');
            for (place, (from, to)) in all.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                node(from, false, false, out);
                if let Some(to) = to {
                    out.push_str(" to ");
                    node(to, false, false, out);
                }
            }
            out.push(']');
        }
        Kind::Method(method) => {
            out.push('.');
            out.push_str(method.name());
            out.push_str("()");
        }
        Kind::Datetime(template) => {
            out.push_str(".datetime(");
            if let Some(template) = template {
                write_string(template, out);
            }
            out.push(')');
        }
        Kind::Filter(of) => around("?(", of, ")", out),
        Kind::Not(of) => around("!(", of, ")", out),
        Kind::IsUnknown(of) => around("(", of, ") is unknown", out),
        Kind::Exists(of) => around("exists (", of, ")", out),
        Kind::And(left, right) => infix(left, "&&", right, out),
        Kind::Or(left, right) => infix(left, "||", right, out),
        Kind::Compare(comparison, left, right) => infix(left, sign(*comparison), right, out),
        Kind::StartsWith(left, right) => infix(left, "starts with", right, out),
        Kind::Arithmetic(operator, left, right) => infix(left, operator.sign(), right, out),
        Kind::LikeRegex { of, pattern, flags, .. } => {
            if brackets {
                out.push('(');
            }
            node(of, false, below(of), out);
            out.push_str(" like_regex ");
            write_string(pattern, out);
            if *flags != Flags::default() {
                out.push_str(" flag \"");
                let Flags { ignore_case, dot_all, multi_line, expanded, quote } = *flags;
                let letters = [(ignore_case, 'i'), (dot_all, 's'), (multi_line, 'm'), (expanded, 'x'), (quote, 'q')];
                for (set, letter) in letters {
                    if set {
                        out.push(letter);
                    }
                }
                out.push('"');
            }
            if brackets {
                out.push(')');
            }
        }
        Kind::Sign { minus, of } => {
            if brackets {
                out.push('(');
            }
            out.push(if *minus { '-' } else { '+' });
            node(of, false, below(of), out);
            if brackets {
                out.push(')');
            }
        }
    }
    if let Some(next) = &it.next {
        node(next, true, true, out);
    }
}

fn around(before: &str, of: &Node, after: &str, out: &mut String) {
    out.push_str(before);
    node(of, false, false, out);
    out.push_str(after);
}

fn sign(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "==",
        Comparison::NotEqual => "!=",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}

//! A template read: what stands in it, and what that says of the whole number (`parse_format`, `NUMDesc_prepare`).

use crate::error::{Error, Kind, Result};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Key(Key),
    /// Copied to the output; one character of the input is skipped for it.
    Literal(char),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Comma,
    Point,
    Zero,
    Nine,
    Blank,
    Currency,
    LocalePoint,
    Exponent,
    Fill,
    Group,
    Minus,
    Plus,
    Brackets,
    Roman {
        upper: bool,
    },
    AnySign,
    Spell,
    Sign,
    Ordinal {
        upper: bool,
    },
    Multiply,
    /// `C`, which nothing is made of.
    Iso,
}

/// In the order in which they are tried.
#[rustfmt::skip]
const KEYS: &[(&str, Key)] = &[
    (",", Key::Comma), (".", Key::Point), ("0", Key::Zero), ("9", Key::Nine),
    ("B", Key::Blank), ("C", Key::Iso), ("D", Key::LocalePoint), ("EEEE", Key::Exponent), ("FM", Key::Fill),
    ("G", Key::Group), ("L", Key::Currency), ("MI", Key::Minus), ("PL", Key::Plus), ("PR", Key::Brackets),
    ("RN", Key::Roman { upper: true }), ("SG", Key::AnySign), ("SP", Key::Spell), ("S", Key::Sign),
    ("TH", Key::Ordinal { upper: true }), ("V", Key::Multiply),
    ("b", Key::Blank), ("c", Key::Iso), ("d", Key::LocalePoint), ("eeee", Key::Exponent), ("fm", Key::Fill),
    ("g", Key::Group), ("l", Key::Currency), ("mi", Key::Minus), ("pl", Key::Plus), ("pr", Key::Brackets),
    ("rn", Key::Roman { upper: false }), ("sg", Key::AnySign), ("sp", Key::Spell), ("s", Key::Sign),
    ("th", Key::Ordinal { upper: false }), ("v", Key::Multiply),
];

/// Where an `S` puts the sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Anchor {
    #[default]
    None,
    Before,
    Behind,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    pub(super) nodes: Vec<Node>,
    /// Digits before and after the point, and behind a `V`.
    pub(super) pre: usize,
    pub(super) post: usize,
    pub(super) multi: usize,
    pub(super) multiplies: bool,
    pub(super) decimal: bool,
    pub(super) fill: bool,
    pub(super) brackets: bool,
    pub(super) roman: bool,
    pub(super) exponent: bool,
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) blank: bool,
    /// A `0` before the point; the place of the first, from 1, and of the last of all zeros.
    pub(super) zero: bool,
    pub(super) zero_start: usize,
    pub(super) zero_end: usize,
    /// An `S`, where its sign goes, and how many digits were before it.
    pub(super) sign: bool,
    pub(super) anchor: Anchor,
    pub(super) before_sign: usize,
}

impl Picture {
    pub(super) fn read(template: &str) -> Result<Self> {
        let mut picture = Self::default();
        let mut rest = template;
        while let Some(first) = rest.chars().next() {
            if let Some((text, key)) = KEYS.iter().find(|(text, _)| rest.starts_with(text)) {
                picture.meet(*key)?;
                picture.nodes.push(Node::Key(*key));
                rest = &rest[text.len()..];
                continue;
            }
            if first == '"' {
                rest = picture.quoted(&rest[1..]);
                continue;
            }
            if rest.starts_with("\\\"") {
                rest = &rest[1..];
            }
            let mut characters = rest.chars();
            picture.nodes.extend(characters.next().map(Node::Literal));
            rest = characters.as_str();
        }
        Ok(picture)
    }

    /// Up to the closing quote, or to the end. A backslash takes the next character as it is.
    fn quoted<'a>(&mut self, text: &'a str) -> &'a str {
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let literal = match character {
                '"' => break,
                '\\' => characters.next().unwrap_or('\\'),
                other => other,
            };
            self.nodes.push(Node::Literal(literal));
        }
        characters.as_str()
    }

    fn meet(&mut self, key: Key) -> Result<()> {
        let wrong = |text: &str| Err(Error::new(Kind::Syntax, text));
        if self.exponent && key != Key::Exponent {
            return wrong("\"EEEE\" must be the last pattern used");
        }
        match key {
            Key::Nine => {
                if self.brackets {
                    return wrong("\"9\" must be ahead of \"PR\"");
                }
                let counted = match (self.multiplies, self.decimal) {
                    (true, _) => &mut self.multi,
                    (false, true) => &mut self.post,
                    (false, false) => &mut self.pre,
                };
                *counted += 1;
            }
            Key::Zero => {
                if self.brackets {
                    return wrong("\"0\" must be ahead of \"PR\"");
                }
                if !self.zero && !self.decimal {
                    (self.zero, self.zero_start) = (true, self.pre + 1);
                }
                *(if self.decimal { &mut self.post } else { &mut self.pre }) += 1;
                self.zero_end = self.pre + self.post;
            }
            Key::Blank => self.blank |= self.pre == 0 && self.post == 0 && !self.zero,
            Key::Point | Key::LocalePoint => {
                if self.decimal {
                    return wrong("multiple decimal points");
                }
                if self.multiplies {
                    return wrong("cannot use \"V\" and decimal point together");
                }
                self.decimal = true;
            }
            Key::Fill => self.fill = true,
            Key::Sign => {
                if self.sign {
                    return wrong("cannot use \"S\" twice");
                }
                if self.plus || self.minus || self.brackets {
                    return wrong("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together");
                }
                self.sign = true;
                match self.decimal {
                    false => (self.anchor, self.before_sign) = (Anchor::Before, self.pre),
                    true => self.anchor = Anchor::Behind,
                }
            }
            Key::Minus | Key::Plus | Key::AnySign => {
                if self.sign {
                    return wrong(match key {
                        Key::Minus => "cannot use \"S\" and \"MI\" together",
                        Key::Plus => "cannot use \"S\" and \"PL\" together",
                        _ => "cannot use \"S\" and \"SG\" together",
                    });
                }
                self.minus |= key != Key::Plus;
                self.plus |= key != Key::Minus;
            }
            Key::Brackets => {
                if self.sign || self.plus || self.minus {
                    return wrong("cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together");
                }
                self.brackets = true;
            }
            Key::Roman { .. } => self.roman = true,
            Key::Multiply => {
                if self.decimal {
                    return wrong("cannot use \"V\" and decimal point together");
                }
                self.multiplies = true;
            }
            Key::Exponent => {
                if self.exponent {
                    return wrong("cannot use \"EEEE\" twice");
                }
                let signs = self.sign || self.brackets || self.minus || self.plus;
                if self.blank || self.fill || signs || self.roman || self.multiplies {
                    let detail = "\"EEEE\" may only be used together with digit and decimal point patterns.";
                    let text = "\"EEEE\" is incompatible with other formats";
                    return Err(Error::new(Kind::Syntax, text).with_detail(detail));
                }
                self.exponent = true;
            }
            Key::Comma | Key::Currency | Key::Group | Key::Spell | Key::Ordinal { .. } | Key::Iso => {}
        }
        Ok(())
    }
}

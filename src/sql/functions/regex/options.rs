//! Options of a pattern: letters of a flags argument, and those embedded as `(?…)` at its beginning.

use crate::error::{Error, Kind, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::sql::functions) struct Options {
    pub(in crate::sql::functions) syntax: Syntax,
    pub(in crate::sql::functions) any_case: bool,
    /// `.` and `[^…]` do not match a line feed.
    pub(in crate::sql::functions) stop_at_newline: bool,
    /// `^` and `$` match around a line feed.
    pub(in crate::sql::functions) anchor_at_newline: bool,
    /// White space and comments do not count.
    pub(in crate::sql::functions) expanded: bool,
    pub(in crate::sql::functions) global: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::sql::functions) enum Syntax {
    Advanced,
    /// Every character is itself.
    Quoted,
    /// Asked for and not read here: extended and basic ones.
    Extended,
    Basic,
}

impl Options {
    pub(in crate::sql::functions) const PLAIN: Self = Self {
        syntax: Syntax::Advanced,
        any_case: false,
        stop_at_newline: false,
        anchor_at_newline: false,
        expanded: false,
        global: false,
    };

    pub(in crate::sql::functions) const ANY_CASE: Self = Self { any_case: true, ..Self::PLAIN };

    /// `false` for a letter that is no option.
    pub(super) fn set(&mut self, letter: char) -> bool {
        match letter {
            'b' => self.syntax = Syntax::Basic,
            'c' => self.any_case = false,
            'e' => self.syntax = Syntax::Extended,
            'i' => self.any_case = true,
            'm' | 'n' => (self.stop_at_newline, self.anchor_at_newline) = (true, true),
            'p' => (self.stop_at_newline, self.anchor_at_newline) = (true, false),
            'q' => self.syntax = Syntax::Quoted,
            's' => (self.stop_at_newline, self.anchor_at_newline) = (false, false),
            't' => self.expanded = false,
            'w' => (self.stop_at_newline, self.anchor_at_newline) = (false, true),
            'x' => self.expanded = true,
            _ => return false,
        }
        true
    }

    /// 22023 for a letter that is no option.
    pub(in crate::sql::functions) fn of_flags(flags: &str) -> Result<Self> {
        let mut options = Self::PLAIN;
        for letter in flags.chars() {
            if letter == 'g' {
                options.global = true;
            } else if !options.set(letter) {
                let text = format!("invalid regular expression option: \"{letter}\"");
                return Err(Error::new(Kind::InvalidParameter, text));
            }
        }
        Ok(options)
    }
}

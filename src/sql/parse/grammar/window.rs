//! OVER and WINDOW: window_specification and frames of gram.y, with the faults that it finds in them itself.

use datafusion::sql::sqlparser::ast::{
    NamedWindowDefinition, NamedWindowExpr, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};

use super::super::encoding;
use super::{Naming, Parser};
use crate::error::{Error, Kind, Result};

impl Parser<'_> {
    /// Behind OVER.
    pub(super) fn over(&mut self) -> Result<WindowType> {
        if self.is_symbol('(') {
            return self.window_specification().map(WindowType::WindowSpec);
        }
        self.column_name().map(WindowType::NamedWindow)
    }

    /// `WINDOW w AS (…), …`, if it stands here.
    pub(super) fn window_clause(&mut self) -> Result<Vec<NamedWindowDefinition>> {
        if !self.eat("window") {
            return Ok(vec![]);
        }
        self.list(|parser| {
            let name = parser.column_name()?;
            parser.expect("as")?;
            let specification = parser.window_specification()?;
            Ok(NamedWindowDefinition(name, NamedWindowExpr::WindowSpec(specification)))
        })
    }

    fn window_specification(&mut self) -> Result<WindowSpec> {
        self.deeper(|parser| {
            parser.expect_symbol('(')?;
            let keyword = matches!(parser.word(0), Some("partition" | "range" | "rows" | "groups"));
            let window_name = match !keyword && parser.names(Naming::Column, 0) {
                true => Some(parser.column_name()?),
                false => None,
            };
            let mut partition_by = vec![];
            if parser.eat("partition") {
                parser.expect("by")?;
                partition_by = parser.expr_list()?;
            }
            let mut order_by = if parser.is("order") { parser.sort_clause()? } else { vec![] };
            let window_frame = parser.frame()?;
            if window_frame.is_some()
                && let Some(excluded) = parser.exclusion()?
            {
                order_by.push(encoding::exclusion(excluded));
            }
            parser.expect_symbol(')')?;
            Ok(WindowSpec { window_name, partition_by, order_by, window_frame })
        })
    }

    fn frame(&mut self) -> Result<Option<WindowFrame>> {
        let units = match self.word(0) {
            Some("range") => WindowFrameUnits::Range,
            Some("rows") => WindowFrameUnits::Rows,
            Some("groups") => WindowFrameUnits::Groups,
            _ => return Ok(None),
        };
        self.advance();
        let between = self.eat("between");
        let start = self.at;
        let start_bound = self.bound()?;
        if !between {
            match start_bound {
                WindowFrameBound::Following(None) => {
                    return Err(self.frame_fault("frame start cannot be UNBOUNDED FOLLOWING", start));
                }
                WindowFrameBound::Following(Some(_)) => {
                    let text = "frame starting from following row cannot end with current row";
                    return Err(self.frame_fault(text, start));
                }
                WindowFrameBound::CurrentRow | WindowFrameBound::Preceding(_) => {}
            }
            return Ok(Some(WindowFrame { units, start_bound, end_bound: None }));
        }
        self.expect("and")?;
        let end = self.at;
        let end_bound = self.bound()?;
        use WindowFrameBound::{CurrentRow, Following, Preceding};
        let fault = match (&start_bound, &end_bound) {
            (Following(None), _) => Some(("frame start cannot be UNBOUNDED FOLLOWING", start)),
            (_, Preceding(None)) => Some(("frame end cannot be UNBOUNDED PRECEDING", end)),
            (CurrentRow, Preceding(Some(_))) => {
                Some(("frame starting from current row cannot have preceding rows", end))
            }
            (Following(Some(_)), Preceding(Some(_)) | CurrentRow) => {
                Some(("frame starting from following row cannot have preceding rows", end))
            }
            _ => None,
        };
        match fault {
            Some((text, token)) => Err(self.frame_fault(text, token)),
            None => Ok(Some(WindowFrame { units, start_bound, end_bound: Some(end_bound) })),
        }
    }

    fn frame_fault(&self, text: &str, token: usize) -> Error {
        self.refused(Kind::Windowing, text, token)
    }

    fn bound(&mut self) -> Result<WindowFrameBound> {
        match (self.word(0), self.word(1)) {
            (Some("unbounded"), Some("preceding")) => {
                self.expect_words(&["unbounded", "preceding"])?;
                Ok(WindowFrameBound::Preceding(None))
            }
            (Some("unbounded"), Some("following")) => {
                self.expect_words(&["unbounded", "following"])?;
                Ok(WindowFrameBound::Following(None))
            }
            (Some("current"), Some("row")) => {
                self.expect_words(&["current", "row"])?;
                Ok(WindowFrameBound::CurrentRow)
            }
            _ => {
                let by = Some(Box::new(self.expr()?));
                if self.eat("preceding") {
                    return Ok(WindowFrameBound::Preceding(by));
                }
                self.expect("following")?;
                Ok(WindowFrameBound::Following(by))
            }
        }
    }

    /// What EXCLUDE names, unless it leaves out nothing.
    fn exclusion(&mut self) -> Result<Option<&'static str>> {
        if !self.eat("exclude") {
            return Ok(None);
        }
        let word = self.word(0);
        let (second, excluded) = match word {
            Some("current") => (Some("row"), Some("CURRENT ROW")),
            Some("group") => (None, Some("GROUP")),
            Some("ties") => (None, Some("TIES")),
            Some("no") => (Some("others"), None),
            _ => return Err(self.unexpected()),
        };
        self.advance();
        second.map_or(Ok(()), |word| self.expect(word))?;
        Ok(excluded)
    }
}

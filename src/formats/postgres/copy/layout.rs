//! How the rows of a client's COPY are written down. Which options may stand together is asked where they are read.

/// Of one COPY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    Text(Marks),
    Csv(Csv),
    Binary,
}

/// What text and csv have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: String,
    pub header: Header,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csv {
    pub marks: Marks,
    pub quote: u8,
    pub escape: u8,
    /// For each column of a COPY TO: its values stand in quotes, all of them.
    pub force_quote: Vec<bool>,
    /// For each column of a COPY FROM: a NULL without quotes is read as the text that it is.
    pub force_not_null: Vec<bool>,
    /// For each column of a COPY FROM: a NULL in quotes is read as NULL.
    pub force_null: Vec<bool>,
}

/// The first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// Is a row.
    None,
    /// Names the columns; what it says is not read.
    Line,
    /// Names the columns, and has to be right.
    Match,
}

impl Layout {
    pub fn is_binary(&self) -> bool {
        matches!(self, Self::Binary)
    }
}

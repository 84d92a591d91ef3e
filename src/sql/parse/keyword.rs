//! The words of PostgreSQL 15's grammar, as pg_get_keywords() lists them: what each may name, and whether it may name a
//! column without AS.

use std::collections::HashMap;
use std::sync::LazyLock;

/// A word that the grammar knows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Keyword {
    /// In lower case.
    pub(crate) word: &'static str,
    pub(crate) category: Category,
    /// Stands as a column's name without AS.
    pub(crate) bare_label: bool,
}

/// What a word may name without quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Category {
    /// Anything.
    Unreserved,
    /// A column or a table, but no function or type.
    ColumnName,
    /// A function or a type, but no column or table.
    TypeOrFunction,
    /// Nothing but a column, after AS.
    Reserved,
}

/// The keyword of a word in lower case.
pub(super) fn keyword(lower: &str) -> Option<&'static Keyword> {
    WORDS.get(lower)
}

/// Whether a name has to be quoted so that it is not read as this word.
pub(crate) fn needs_quotes(lower: &str) -> bool {
    keyword(lower).is_some_and(|keyword| keyword.category != Category::Unreserved)
}

/// Every keyword, in the order of the words.
pub(crate) fn keywords() -> Vec<&'static Keyword> {
    let mut all: Vec<_> = WORDS.values().collect();
    all.sort_unstable_by_key(|keyword| keyword.word);
    all
}

static WORDS: LazyLock<HashMap<&'static str, Keyword>> = LazyLock::new(|| {
    let lists = [
        (UNRESERVED, Category::Unreserved),
        (COLUMN_NAME, Category::ColumnName),
        (TYPE_OR_FUNCTION, Category::TypeOrFunction),
        (RESERVED, Category::Reserved),
    ];
    let words = lists.into_iter().flat_map(|(list, category)| {
        list.split_whitespace().map(move |entry| {
            let word = entry.trim_end_matches('*');
            (word, Keyword { word, category, bare_label: word.len() == entry.len() })
        })
    });
    words.collect()
});

// A star: only after AS.

const UNRESERVED: &str = "\
    abort absolute access action add admin after aggregate also alter always asensitive assertion assignment at \
    atomic attach attribute backward before begin breadth by cache call called cascade cascaded catalog chain \
    characteristics checkpoint class close cluster columns comment comments commit committed compression \
    configuration conflict connection constraints content continue conversion copy cost csv cube current cursor \
    cycle data database day* deallocate declare defaults deferred definer delete delimiter delimiters depends depth \
    detach dictionary disable discard document domain double drop each enable encoding encrypted enum escape event \
    exclude excluding exclusive execute explain expression extension external family filter* finalize first \
    following force forward function functions generated global granted groups handler header hold hour* identity if \
    immediate immutable implicit import include including increment index indexes inherit inherits inline input \
    insensitive insert instead invoker isolation key label language large last leakproof level listen load local \
    location lock locked logged mapping match matched materialized maxvalue merge method minute* minvalue mode \
    month* move name names new next nfc nfd nfkc nfkd no normalized nothing notify nowait nulls object of off oids \
    old operator option options ordinality others over* overriding owned owner parallel parameter parser partial \
    partition passing password plans policy preceding prepare prepared preserve prior privileges procedural \
    procedure procedures program publication quote range read reassign recheck recursive ref referencing refresh \
    reindex relative release rename repeatable replace replica reset restart restrict return returns revoke role \
    rollback rollup routine routines rows rule savepoint schema schemas scroll search second* security sequence \
    sequences serializable server session set sets share show simple skip snapshot sql stable standalone start \
    statement statistics stdin stdout storage stored strict strip subscription support sysid system tables \
    tablespace temp template temporary text ties transaction transform trigger truncate trusted type types uescape \
    unbounded uncommitted unencrypted unknown unlisten unlogged until update vacuum valid validate validator value \
    varying* version view views volatile whitespace within* without* work wrapper write xml year* yes zone";

const COLUMN_NAME: &str = "\
    between bigint bit boolean char* character* coalesce dec decimal exists extract float greatest grouping inout \
    int integer interval least national nchar none normalize nullif numeric out overlay position precision* real row \
    setof smallint substring time timestamp treat trim values varchar xmlattributes xmlconcat xmlelement xmlexists \
    xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable";

const TYPE_OR_FUNCTION: &str = "\
    authorization binary collation concurrently cross current_schema freeze full ilike inner is isnull* join left \
    like natural notnull* outer overlaps* right similar tablesample verbose";

const RESERVED: &str = "\
    all analyse analyze and any array* as* asc asymmetric both case cast check collate column constraint create* \
    current_catalog current_date current_role current_time current_timestamp current_user default deferrable desc \
    distinct do else end except* false fetch* for* foreign from* grant* group* having* in initially intersect* into* \
    lateral leading limit* localtime localtimestamp not null offset* on* only or order* placing primary references \
    returning* select session_user some symmetric table then to* trailing true union* unique user using variadic \
    when where* window* with*";

//! The database under the lake and the runtime objects: SQLite (default). The only home of `sqlx`.

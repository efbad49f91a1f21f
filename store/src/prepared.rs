//! Statements over many rows, prepared once a connection: what is asked or written goes as one array a column, so that the text is
//! the same for one row and for a thousand, and PostgreSQL does not parse and plan it again.

/// A statement whose parameters are arrays, one a column. Diesel keeps it prepared by its type.
///
/// With `into "table"` it inserts rows into the columns that it has; else it is `before unnest($1, $2, …) after`, and with a row
/// type a query.
macro_rules! prepared {
    (
        $vis:vis $name:ident { $($column:ident: $rust:ty => $sql:ty),+ $(,)? } into $table:literal
    ) => {
        prepared!(@rows $vis $name { $($column: $rust),+ });

        impl diesel::query_builder::QueryFragment<diesel::pg::Pg> for $name<'_> {
            fn walk_ast<'b>(
                &'b self,
                mut out: diesel::query_builder::AstPass<'_, 'b, diesel::pg::Pg>,
            ) -> diesel::QueryResult<()> {
                const COLUMNS: &[&str] = &[$(stringify!($column)),+];
                out.push_sql(concat!("INSERT INTO ", $table));
                for (column, before) in COLUMNS.iter().zip([" ("].into_iter().chain(std::iter::repeat(", "))) {
                    out.push_sql(before);
                    out.push_sql(column);
                }
                out.push_sql(")");
                // Side by side in the list they go row by row; after FROM, PostgreSQL would first store each column away.
                prepared!(@columns self, out, " SELECT unnest(", "), unnest(", { $($column => $sql),+ });
                Ok(())
            }
        }
    };
    (
        $vis:vis $name:ident { $($column:ident: $rust:ty => $sql:ty),+ $(,)? } $(-> $row:ty)?,
        $before:expr, $after:expr $(,)?
    ) => {
        prepared!(@rows $vis $name { $($column: $rust),+ });

        impl diesel::query_builder::QueryFragment<diesel::pg::Pg> for $name<'_> {
            fn walk_ast<'b>(
                &'b self,
                mut out: diesel::query_builder::AstPass<'_, 'b, diesel::pg::Pg>,
            ) -> diesel::QueryResult<()> {
                out.push_sql($before);
                // As questions of their own, or PostgreSQL would see how short the arrays are and, hoping for a better plan, plan anew
                // each time, which takes longer than the answer to a batch.
                prepared!(@columns self, out, " unnest((SELECT ", "), (SELECT ", { $($column => $sql),+ });
                out.push_sql(") ");
                out.push_sql($after);
                Ok(())
            }
        }

        $(
            impl diesel::query_builder::Query for $name<'_> {
                type SqlType = $row;
            }
        )?
    };
    (@columns $self:ident, $out:ident, $first:literal, $next:literal, { $($column:ident => $sql:ty),+ }) => {
        let mut before = $first;
        $(
            $out.push_sql(before);
            before = $next;
            $out.push_bind_param::<diesel::sql_types::Array<$sql>, _>(&$self.$column)?;
        )+
        let _ = before;
        $out.push_sql(") ");
    };
    (@rows $vis:vis $name:ident { $($column:ident: $rust:ty),+ }) => {
        $vis struct $name<'a> {
            $($column: Vec<$rust>,)+
            lifetime: std::marker::PhantomData<&'a ()>,
        }

        impl<'a> $name<'a> {
            fn with_capacity(rows: usize) -> Self {
                Self { $($column: Vec::with_capacity(rows),)+ lifetime: std::marker::PhantomData }
            }

            #[allow(clippy::too_many_arguments, reason = "one a column, in their order")]
            fn push(&mut self, $($column: $rust),+) {
                $(self.$column.push($column);)+
            }
        }

        impl diesel::query_builder::QueryId for $name<'_> {
            type QueryId = $name<'static>;
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        impl diesel::RunQueryDsl<diesel::pg::PgConnection> for $name<'_> {}
    };
}

pub(crate) use prepared;

//! The rows of a Parquet file as the cells that a CSV file would have: how data platforms hand over what customers held.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use chrono::{DateTime, Days, NaiveDate, SecondsFormat};
use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::Decimal as Stored;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::schema::types::Type;
use rust_decimal::Decimal;

/// Why a file is no roster, or no more of one.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A column whose values are no cells: by its place, counted from 0.
    #[error("the column {name}: {why}")]
    Column {
        /// Its name.
        name: String,
        /// What it holds.
        why: &'static str,
    },
    /// The file is damaged, or is none.
    #[error("this is no Parquet file that can be read: {0}")]
    Unreadable(#[from] ParquetError),
    /// The file is damaged in a way that its reader does not expect.
    #[error("this is no Parquet file that can be read: it is damaged")]
    Damaged,
    /// The machine does not give the bytes.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// The rows of a file, read page by page.
pub struct Rows {
    names: Vec<String>,
    rows: Box<dyn Iterator<Item = Result<parquet::record::Row, ParquetError>>>,
}

impl Rows {
    /// Opens a file of which every column can be read.
    pub fn open(file: &Path) -> Result<Self, Fault> {
        let opened = File::open(file)?;
        let reader = catch_unwind(|| SerializedFileReader::new(opened)).map_err(|_| Fault::Damaged)??;
        let schema = reader.metadata().file_metadata().schema();
        for column in schema.get_fields() {
            if let Some(why) = problem(column) {
                return Err(Fault::Column { name: column.name().to_owned(), why });
            }
        }
        let chunks = reader.metadata().row_groups().iter().flat_map(|group| group.columns());
        let is_placed = |chunk: &ColumnChunkMetaData| {
            let offsets =
                [Some(chunk.data_page_offset()), chunk.dictionary_page_offset(), Some(chunk.compressed_size())];
            offsets.into_iter().flatten().all(|offset| offset >= 0)
        };
        if !chunks.into_iter().all(is_placed) {
            return Err(Fault::Damaged);
        }
        let names = schema.get_fields().iter().map(|column| column.name().to_owned()).collect();
        Ok(Self { names, rows: Box::new(reader.into_iter()) })
    }

    /// The names of its columns.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }
}

impl Iterator for Rows {
    type Item = Result<Vec<String>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        // The reader panics at some damaged files, which are somebody's input.
        let rows = &mut self.rows;
        let Ok(row) = catch_unwind(AssertUnwindSafe(|| rows.next())) else { return Some(Err(Fault::Damaged)) };
        let row = row?;
        Some(row.map(|row| row.into_columns().iter().map(|(_, field)| cell(field)).collect()).map_err(Fault::from))
    }
}

/// What keeps a column from being one of cells.
fn problem(column: &Type) -> Option<&'static str> {
    const NOT_PLAIN: &str = "it holds lists, maps or structures; a roster has one plain column for each attribute";
    if !column.is_primitive() || column.get_basic_info().repetition() == Repetition::REPEATED {
        return Some(NOT_PLAIN);
    }
    if let Some(LogicalType::Timestamp(time)) = column.get_basic_info().logical_type_ref() {
        if !time.is_adjusted_to_u_t_c {
            return Some("its times have no zone; write them as instants (adjusted to UTC), or as text");
        }
        if matches!(time.unit, TimeUnit::NANOS) {
            return Some("its times count nanoseconds; write microseconds, or text");
        }
    }
    let converted = column.get_basic_info().converted_type();
    let is_read = match column.get_physical_type() {
        Physical::BOOLEAN | Physical::FLOAT | Physical::DOUBLE => converted == ConvertedType::NONE,
        Physical::INT32 => is_number(converted),
        Physical::INT64 => {
            is_number(converted)
                || matches!(converted, ConvertedType::TIMESTAMP_MILLIS | ConvertedType::TIMESTAMP_MICROS)
        }
        Physical::BYTE_ARRAY => matches!(
            converted,
            ConvertedType::UTF8
                | ConvertedType::ENUM
                | ConvertedType::JSON
                | ConvertedType::NONE
                | ConvertedType::DECIMAL
        ),
        Physical::FIXED_LEN_BYTE_ARRAY => converted == ConvertedType::DECIMAL,
        Physical::INT96 => false,
    };
    (!is_read).then_some("its values are of a kind that no roster has; write them as text")
}

fn is_number(converted: ConvertedType) -> bool {
    use ConvertedType as C;
    matches!(
        converted,
        C::NONE
            | C::INT_8
            | C::INT_16
            | C::INT_32
            | C::INT_64
            | C::UINT_8
            | C::UINT_16
            | C::UINT_32
            | C::UINT_64
            | C::DATE
            | C::DECIMAL
    )
}

/// A value as a cell; nothing is an empty one, and so is what pandas writes for nothing in a column of numbers.
fn cell(field: &Field) -> String {
    match field {
        Field::Null => String::new(),
        Field::Bool(value) => value.to_string(),
        Field::Byte(value) => value.to_string(),
        Field::Short(value) => value.to_string(),
        Field::Int(value) => value.to_string(),
        Field::Long(value) => value.to_string(),
        Field::UByte(value) => value.to_string(),
        Field::UShort(value) => value.to_string(),
        Field::UInt(value) => value.to_string(),
        Field::ULong(value) => value.to_string(),
        Field::Float(value) if value.is_nan() => String::new(),
        Field::Float(value) => value.to_string(),
        Field::Double(value) if value.is_nan() => String::new(),
        Field::Double(value) => value.to_string(),
        Field::Decimal(value) => decimal(value),
        Field::Str(value) => value.clone(),
        Field::Bytes(value) => String::from_utf8_lossy(value.data()).into_owned(),
        Field::Date(days) => date(*days),
        Field::TimestampMillis(at) => instant(DateTime::from_timestamp_millis(*at)),
        Field::TimestampMicros(at) => instant(DateTime::from_timestamp_micros(*at)),
        // Refused with their columns.
        other => other.to_string(),
    }
}

/// What cannot be kept is told as the row's own fault, by a cell that is none.
const BEYOND: &str = "beyond what can be read";

fn instant(at: Option<DateTime<chrono::Utc>>) -> String {
    at.map_or_else(|| BEYOND.to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

fn date(days: i32) -> String {
    let epoch = NaiveDate::default();
    let count = Days::new(u64::from(days.unsigned_abs()));
    let date = if days < 0 { epoch.checked_sub_days(count) } else { epoch.checked_add_days(count) };
    date.map_or_else(|| BEYOND.to_owned(), |date| date.to_string())
}

/// Big-endian two's complement, so many digits behind the point.
fn decimal(stored: &Stored) -> String {
    let bytes = stored.data();
    let exact = || {
        let fill = if bytes.first()? & 0x80 == 0 { 0 } else { 0xff };
        let mut whole = [fill; 16];
        let from = whole.len().checked_sub(bytes.len())?;
        whole.get_mut(from..)?.copy_from_slice(bytes);
        Decimal::try_from_i128_with_scale(i128::from_be_bytes(whole), u32::try_from(stored.scale()).ok()?).ok()
    };
    exact().map_or_else(|| BEYOND.to_owned(), |value| value.to_string())
}

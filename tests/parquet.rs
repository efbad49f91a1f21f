//! Rosters as data platforms hand them over: Parquet, whatever its compression, and damaged in any way.

use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;

use crate::harness::{INCIDENT, Random, Redress};

const SCHEMA: &str = "message roster {
    REQUIRED BYTE_ARRAY customer (UTF8); REQUIRED BYTE_ARRAY service (UTF8); REQUIRED BYTE_ARRAY reference (UTF8);
    REQUIRED BYTE_ARRAY kind (UTF8); OPTIONAL INT64 valid_from (TIMESTAMP(MICROS,true)); REQUIRED INT64 fee;
    REQUIRED BOOLEAN merchant; }";

/// 2022-09-01T00:00:00.000001Z.
const FROM: i64 = 1_661_990_400_000_001;

/// A roster of so many subscribers of Melon; every third has no beginning.
fn write(path: &Path, schema: &str, compression: Compression, count: usize) {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder().set_compression(compression).set_max_row_group_row_count(Some(700));
    let file = std::fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties.build())).unwrap();
    for begin in (0..count).step_by(700) {
        let rows = begin..count.min(begin + 700);
        let mut group = writer.next_row_group().unwrap();
        let mut place = 0;
        while let Some(mut column) = group.next_column().unwrap() {
            match place {
                0 => texts(&mut column, rows.clone().map(|row| format!("c-{row:05}"))),
                1 => texts(&mut column, rows.clone().map(|_| "melon".to_owned())),
                2 => texts(&mut column, rows.clone().map(|row| format!("한-{row}"))),
                3 => texts(&mut column, rows.clone().map(|_| "subscription".to_owned())),
                4 => {
                    let levels: Vec<i16> = rows.clone().map(|row| i16::from(row % 3 != 0)).collect();
                    let values = vec![FROM; levels.iter().filter(|level| **level == 1).count()];
                    column.typed::<Int64Type>().write_batch(&values, Some(&levels), None).unwrap();
                }
                5 => {
                    let fees: Vec<i64> = rows.clone().map(|row| 7_900 + i64::try_from(row).unwrap()).collect();
                    column.typed::<Int64Type>().write_batch(&fees, None, None).unwrap();
                }
                _ => {
                    let all: Vec<bool> = rows.clone().map(|row| row % 2 == 0).collect();
                    column.typed::<BoolType>().write_batch(&all, None, None).unwrap();
                }
            }
            column.close().unwrap();
            place += 1;
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}

fn texts(column: &mut SerializedColumnWriter<'_>, texts: impl Iterator<Item = String>) {
    let values: Vec<ByteArray> = texts.map(|text| ByteArray::from(text.as_str())).collect();
    column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
}

#[test]
fn a_parquet_roster_says_what_the_same_in_csv_says() {
    Redress::test(|redress| {
        redress.with_incident();
        let holdings = "SELECT md5(string_agg(concat(customer_id, reference, coalesce(holding.facts, common.facts)::text), ';'
                            ORDER BY customer_id)) FROM holding LEFT JOIN common_facts AS common ON common.id = common_id";
        let mut csv = String::from("customer,service,reference,kind,valid_from,fee,merchant\n");
        for row in 0..2_000 {
            let from = if row % 3 == 0 { "" } else { "2022-09-01T09:00:00.000001+09:00" };
            csv.push_str(&format!("c-{row:05},melon,한-{row},subscription,{from},{},{}\n", 7_900 + row, row % 2 == 0));
        }
        let import = |file: &str| redress.json(&["roster", "import", file, "--incident", INCIDENT])["accepted"].clone();
        assert_eq!(import(&redress.file("roster.csv", csv)), 2_000);
        let wanted = redress.text(holdings);
        for (name, compression) in [
            ("plain", Compression::UNCOMPRESSED),
            ("snappy", Compression::SNAPPY),
            ("gzip", Compression::GZIP(Default::default())),
            ("lz4", Compression::LZ4_RAW),
            ("zstd", Compression::ZSTD(Default::default())),
        ] {
            redress.sql("DELETE FROM holding");
            let path = redress.folder.path().join(format!("{name}.parquet"));
            write(&path, SCHEMA, compression, 2_000);
            assert_eq!(import(&path.display().to_string()), 2_000, "{name}");
            assert_eq!(redress.text(holdings), wanted, "{name}");
        }
    });
}

#[test]
fn a_column_that_no_roster_has_is_named() {
    Redress::test(|redress| {
        redress.with_incident();
        for (from, to, says) in [
            ("TIMESTAMP(MICROS,true)", "TIMESTAMP(MICROS,false)", "the column valid_from: its times have no zone"),
            ("TIMESTAMP(MICROS,true)", "TIMESTAMP(NANOS,true)", "the column valid_from: its times count nanoseconds"),
            ("REQUIRED INT64 fee", "REPEATED INT64 fee", "the column fee: it holds lists"),
            ("kind (UTF8)", "sort (UTF8)", "kind"),
        ] {
            let path = redress.folder.path().join("odd.parquet");
            write(&path, &SCHEMA.replace(from, to), Compression::SNAPPY, 0);
            redress.run(&["roster", "import", &path.display().to_string(), "--incident", INCIDENT]).refuses(says);
        }
        let none = redress.file("none.parquet", "customer,service\n");
        redress.run(&["roster", "import", &none, "--incident", INCIDENT]).refuses("no Parquet file that can be read");
    });
}

#[test]
fn a_damaged_parquet_file_is_refused_and_nothing_of_it_is_taken() {
    let mut random = Random::new("a damaged roster");
    let mut below = move |bound: usize| usize::try_from(random.below(bound as u64)).unwrap();
    Redress::test(|redress| {
        redress.with_incident();
        let path = redress.folder.path().join("whole.parquet");
        write(&path, SCHEMA, Compression::SNAPPY, 300);
        let whole = std::fs::read(&path).unwrap();
        for _ in 0..40 {
            let mut damaged = whole.clone();
            for _ in 0..=below(3) {
                let place = below(damaged.len());
                damaged[place] = u8::try_from(below(256)).unwrap();
            }
            if below(5) == 0 {
                damaged.truncate(below(damaged.len()));
            }
            let file = redress.folder.path().join("damaged.parquet");
            std::fs::write(&file, damaged).unwrap();
            let ran = redress.run(&["roster", "import", &file.display().to_string(), "--incident", INCIDENT]);
            // A byte of a value may make it another value, or one that a row is refused for.
            assert!(matches!(ran.code, Some(0 | 1)), "{:?} {}", ran.code, ran.stderr);
            let held = redress.number("SELECT count(*) FROM holding");
            assert!(held == 0 || ran.stdout.contains("imported"), "{held} {}{}", ran.stdout, ran.stderr);
            redress.sql("DELETE FROM holding");
        }
    });
}

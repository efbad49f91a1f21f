//! What a file is, by its content and never by its name, and what of it is kept.

use super::{Refusal, pdf, picture};

/// The kinds that are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A JPEG picture.
    Jpeg,
    /// A PNG picture.
    Png,
    /// A PDF document.
    Pdf,
}

impl Kind {
    /// The kind's name in storage.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Pdf => "pdf",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Jpeg, Self::Png, Self::Pdf].into_iter().find(|kind| kind.as_str() == name)
    }

    /// Its media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Pdf => "application/pdf",
        }
    }

    /// The ending of a file's name.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::Pdf => "pdf",
        }
    }
}

/// A file that may be kept.
#[derive(Debug)]
pub struct Inspected {
    /// What it is.
    pub kind: Kind,
    /// What is kept: a picture anew from its pixels, a document as it came.
    pub content: Vec<u8>,
    /// What a reader should know before opening it.
    pub remarks: Vec<&'static str>,
}

const JPEG: &[u8] = b"\xff\xd8\xff";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const PDF: &[u8] = b"%PDF-";

/// The kind that a file says it is by its first bytes; a refusal names what it is instead, and what to do.
pub fn kind_of(content: &[u8]) -> Result<Kind, Refusal> {
    match content {
        [] => Err(Refusal::Unreadable("the file is empty".into())),
        _ if content.starts_with(JPEG) => Ok(Kind::Jpeg),
        _ if content.starts_with(PNG) => Ok(Kind::Png),
        _ if content.starts_with(PDF) => Ok(Kind::Pdf),
        _ => Err(Refusal::Type(other(content))),
    }
}

/// Looks at a file whole.
pub fn inspect(kind: Kind, content: Vec<u8>) -> Result<Inspected, Refusal> {
    match kind {
        Kind::Jpeg | Kind::Png => {
            Ok(Inspected { kind, content: picture::redraw(kind, &content)?, remarks: Vec::new() })
        }
        Kind::Pdf => {
            let remarks = pdf::check(&content)?;
            Ok(Inspected { kind, content, remarks })
        }
    }
}

/// What people send most often besides, and what they can do about it.
fn other(content: &[u8]) -> String {
    let known: &[(&[u8], usize, &str)] = &[
        (b"PK\x03\x04", 0, "an archive or an office document; save the document as PDF"),
        (b"\xd0\xcf\x11\xe0", 0, "an office document; save it as PDF"),
        (b"Rar!", 0, "an archive; send what is in it"),
        (b"7z\xbc\xaf", 0, "an archive; send what is in it"),
        (b"\x1f\x8b", 0, "an archive; send what is in it"),
        (b"ftyphei", 4, "a HEIC picture; save it as JPEG"),
        (b"ftyp", 4, "a film or a HEIC picture; save pictures as JPEG"),
        (b"GIF8", 0, "a GIF; save it as PNG"),
        (b"WEBP", 8, "a WebP picture; save it as PNG or JPEG"),
        (b"BM", 0, "a BMP picture; save it as PNG"),
        (b"II*\0", 0, "a TIFF picture; save it as PDF or PNG"),
        (b"MM\0*", 0, "a TIFF picture; save it as PDF or PNG"),
        (b"MZ", 0, "a program"),
        (b"\x7fELF", 0, "a program"),
        (b"#!", 0, "a script"),
    ];
    let found = known.iter().find(|(magic, at, _)| content.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
    if let Some((.., what)) = found {
        return (*what).to_owned();
    }
    let beginning = String::from_utf8_lossy(&content[..content.len().min(1024)]).to_ascii_lowercase();
    let markup = ["<svg", "<!doctype html", "<html", "<script", "<?xml"];
    match markup.iter().find(|tag| beginning.contains(*tag)) {
        Some(_) => "a page, a script or a drawing in XML; save it as PDF or PNG".to_owned(),
        None => "something else".to_owned(),
    }
}

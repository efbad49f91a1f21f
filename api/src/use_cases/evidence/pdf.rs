//! PDFs are kept as they came, so what would act when one is opened is looked for and refused.
//!
//! This is a net, not a proof: names are looked for in the file and in every stream that unpacks, spelled in any way that a
//! reader understands; a reader with faults of its own is why files are served as attachments, in a sandbox.

use std::io::Read;

use flate2::read::ZlibDecoder;

use super::Refusal;

/// How near the end `%%EOF` must stand.
const TAIL: usize = 1024;
/// An archive's directory stands in the last 64 KiB and a bit.
const ARCHIVE_TAIL: usize = 66 * 1024;
/// How much all streams may unpack to.
const MAX_UNPACKED: u64 = 64 << 20;
/// The longest name that is looked for, with every letter as `#xx`.
const MAX_NAME: usize = 3 * 16;
/// How far back from a stream its dictionary is looked for.
const MAX_DICTIONARY: usize = 4096;

/// What acts, or carries what acts. Short names such as `JS` only mean something beside one of these.
const ACTIVE: &[&str] =
    &["JavaScript", "Launch", "EmbeddedFile", "EmbeddedFiles", "XFA", "RichMedia", "SubmitForm", "ImportData", "GoToE"];
/// What happens at opening: a page to begin with, mostly; anything else would need one of [`ACTIVE`].
const AT_OPENING: &str = "OpenAction";

/// What was seen in a file.
#[derive(Default)]
struct Seen {
    active: Vec<&'static str>,
    at_opening: bool,
    encrypted: bool,
}

/// Checks a PDF; returns what a reader should know before opening it.
pub fn check(content: &[u8]) -> Result<Vec<&'static str>, Refusal> {
    let tail = content.len().saturating_sub(TAIL);
    let end = rfind(&content[tail..], b"%%EOF").map(|at| tail + at + 5);
    let after_end = end.and_then(|end| content.get(end..)).ok_or_else(|| unreadable("the document is cut off"))?;
    if after_end.iter().any(|byte| !byte.is_ascii_whitespace() && *byte != 0) {
        return Err(unreadable("something that is no PDF follows the document"));
    }
    if rfind(content, b"startxref").is_none() {
        return Err(unreadable("the document is cut off"));
    }
    if rfind(&content[content.len().saturating_sub(ARCHIVE_TAIL)..], b"PK\x05\x06").is_some() {
        return Err(Refusal::Type("a PDF that is an archive as well".into()));
    }
    let mut seen = Seen::default();
    look(content, &mut seen);
    unpack(content, &mut seen)?;
    if seen.encrypted {
        return Err(unreadable("the document is locked with a password; send it unlocked, or as pictures"));
    }
    if !seen.active.is_empty() {
        return Err(Refusal::Active(seen.active));
    }
    Ok(if seen.at_opening { vec!["open_action"] } else { Vec::new() })
}

fn unreadable(why: &str) -> Refusal {
    Refusal::Unreadable(why.into())
}

fn rfind(content: &[u8], what: &[u8]) -> Option<usize> {
    content.windows(what.len()).rposition(|window| window == what)
}

/// Looks for names; `/Java#53cript` is a name like any other.
fn look(content: &[u8], seen: &mut Seen) {
    for (at, _) in content.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
        let name = name_at(&content[at + 1..]);
        match name.as_str() {
            AT_OPENING => seen.at_opening = true,
            "Encrypt" => seen.encrypted = true,
            name => {
                let active = ACTIVE.iter().find(|active| **active == name && !seen.active.contains(active));
                seen.active.extend(active);
            }
        }
    }
}

/// The name that begins here, without its spelling's tricks; cut off where it is longer than any that matters.
fn name_at(rest: &[u8]) -> String {
    let rest = &rest[..rest.len().min(MAX_NAME)];
    let length = rest
        .iter()
        .position(|byte| byte.is_ascii_whitespace() || *byte == 0 || b"()<>[]{}/%".contains(byte))
        .unwrap_or(rest.len());
    let raw = &rest[..length];
    let mut name = String::new();
    let mut at = 0;
    while let Some(byte) = raw.get(at) {
        let escaped = raw.get(at + 1..at + 3).filter(|_| *byte == b'#');
        let decoded = escaped.and_then(|digits| hex::decode(digits).ok());
        name.push(char::from(decoded.as_ref().and_then(|bytes| bytes.first().copied()).unwrap_or(*byte)));
        at += if decoded.is_some() { 3 } else { 1 };
    }
    name
}

/// Looks into every stream that unpacks, but pictures: objects hide there as a matter of course.
fn unpack(content: &[u8], seen: &mut Seen) -> Result<(), Refusal> {
    const STREAM: &[u8] = b"stream";
    let mut left = MAX_UNPACKED;
    let mut at = 0;
    while let Some(found) = content.get(at..).and_then(|rest| rest.windows(STREAM.len()).position(|w| w == STREAM)) {
        let begin = at + found;
        at = begin + STREAM.len();
        if content[..begin].ends_with(b"end") {
            continue;
        }
        let data = match &content[at..] {
            [b'\r', b'\n', data @ ..] | [b'\n' | b'\r', data @ ..] => data,
            _ => continue,
        };
        let dictionary = dictionary_before(&content[..begin]);
        let objects = dictionary.iter().any(|name| name == "ObjStm");
        if dictionary.iter().any(|name| name == "Image") && !objects {
            continue;
        }
        let packed = is_zlib(data);
        let other_filter = ["LZWDecode", "ASCIIHexDecode", "ASCII85Decode", "RunLengthDecode", "Crypt", "Predictor"];
        if objects && (!packed || dictionary.iter().any(|name| other_filter.contains(&name.as_str()))) {
            return Err(unreadable("the document is packed in a way that cannot be checked; print it to PDF anew"));
        }
        if packed {
            look_into(data, &mut left, seen)?;
        }
    }
    Ok(())
}

/// The names in the dictionary that ends here.
fn dictionary_before(content: &[u8]) -> Vec<String> {
    let from = content.len().saturating_sub(MAX_DICTIONARY);
    let near = &content[from..];
    let begin = rfind(near, b" obj").unwrap_or(0);
    near[begin..]
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'/')
        .map(|(at, _)| name_at(&near[begin + at + 1..]))
        .collect()
}

fn is_zlib(data: &[u8]) -> bool {
    matches!(data, [method, flags, ..] if method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0)
}

fn look_into(data: &[u8], left: &mut u64, seen: &mut Seen) -> Result<(), Refusal> {
    let mut decoder = ZlibDecoder::new(data);
    // What a window ends in the middle of is looked at again with the next one.
    let mut window = vec![0_u8; 64 * 1024];
    let mut kept = 0;
    loop {
        // A stream that stops unpacking was looked at as far as any reader can see.
        let read = decoder.read(&mut window[kept..]).unwrap_or(0);
        if read == 0 {
            return Ok(());
        }
        *left = left.checked_sub(read as u64).ok_or_else(|| {
            unreadable("the document unpacks to more than can be checked; print it to PDF anew, or send fewer pages")
        })?;
        let filled = kept + read;
        look(&window[..filled], seen);
        kept = filled.min(MAX_NAME + 1);
        window.copy_within(filled - kept..filled, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn document(body: &[u8]) -> Vec<u8> {
        [b"%PDF-1.7\n", body, b"\nstartxref\n9\n%%EOF\n"].concat()
    }

    fn packed(dictionary: &str, content: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(content).unwrap();
        let data = packer.finish().unwrap();
        document(&[format!("1 0 obj\n<<{dictionary}>>\nstream\n").as_bytes(), &data, b"\nendstream"].concat())
    }

    #[test]
    fn what_acts_is_found_however_it_is_spelled_and_wherever_it_hides() {
        let hidden = "/Type/ObjStm/Filter/FlateDecode";
        let far = [vec![b' '; 65_530], b"/S /Java#53cript".to_vec()].concat();
        for (document, name) in [
            (document(b"<< /S /JavaScript /JS (x) >>"), "JavaScript"),
            (document(b"<</S/J#61vaScript>>"), "JavaScript"),
            (document(b"/Launch<<"), "Launch"),
            (document(b"/AcroForm<</XFA 3 0 R>>"), "XFA"),
            (packed(hidden, b"<</S/Launch>>"), "Launch"),
            (packed("/Filter /FlateDecode", b"<</Type/EmbeddedFile>>"), "EmbeddedFile"),
            (packed(hidden, &far), "JavaScript"),
            (packed(&format!("/Subtype/Image{hidden}"), b"/RichMedia"), "RichMedia"),
        ] {
            assert!(matches!(check(&document), Err(Refusal::Active(names)) if names == [name]), "{name}");
        }
    }

    #[test]
    fn a_plain_document_is_taken_and_its_first_view_is_remarked() {
        assert_eq!(check(&document(b"1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj")).unwrap(), [] as [&str; 0]);
        assert_eq!(check(&document(b"<</OpenAction [3 0 R /Fit]>>")).unwrap(), ["open_action"]);
        assert!(check(&packed("/Filter/FlateDecode", b"BT (JavaScript /JS) Tj ET")).is_ok());
    }

    #[test]
    fn what_cannot_be_checked_is_refused_and_says_why() {
        let bomb = packed("/Filter/FlateDecode", &vec![0_u8; 80 << 20]);
        let cases: [(Vec<u8>, &str); 6] = [
            (b"%PDF-1.7\nstartxref".to_vec(), "cut off"),
            (b"%PDF-1.7\n%%EOF".to_vec(), "cut off"),
            ([document(b""), b"<script>".to_vec()].concat(), "follows"),
            (document(b"trailer<</Encrypt 5 0 R>>"), "password"),
            (bomb, "unpacks to more"),
            (packed("/Type/ObjStm/Filter[/FlateDecode]/DecodeParms<</Predictor 12>>", b"x"), "cannot be checked"),
        ];
        for (document, why) in cases {
            let Err(Refusal::Unreadable(said)) = check(&document) else { panic!("{why}") };
            assert!(said.contains(why), "{said}");
        }
        assert!(matches!(check(&document(b"PK\x05\x06")), Err(Refusal::Type(_))));
    }
}

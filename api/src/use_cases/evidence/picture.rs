//! Pictures are drawn anew from their pixels: what was hidden in the file, or says where it was taken, is gone.

use std::io::{Cursor, Write};

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{DynamicImage, ImageDecoder, ImageEncoder, ImageError, ImageFormat, ImageReader, Limits};

use super::inspect::Kind;
use super::{MAX_FILE, Refusal};

/// The most pixels of a picture: what a telephone takes, and a scanned page at 600 dots an inch nearly.
pub const MAX_PIXELS: u64 = 25_000_000;
/// The longest side.
const MAX_SIDE: u32 = 20_000;
/// The most memory a decoder may take besides the picture itself.
const MAX_ALLOCATION: u64 = 160 << 20;
/// Good enough to read small print by.
const JPEG_QUALITY: u8 = 85;

/// The picture anew, upright, without anything but its pixels.
pub fn redraw(kind: Kind, content: &[u8]) -> Result<Vec<u8>, Refusal> {
    if kind == Kind::Jpeg && !jpeg_has_end(content) {
        return Err(Refusal::Unreadable("the picture is cut off".into()));
    }
    let format = if kind == Kind::Jpeg { ImageFormat::Jpeg } else { ImageFormat::Png };
    let mut reader = ImageReader::with_format(Cursor::new(content), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_ALLOCATION);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PIXELS || width > MAX_SIDE || height > MAX_SIDE || decoder.total_bytes() > MAX_ALLOCATION {
        return Err(Refusal::Pixels { width, height });
    }
    let orientation = decoder.orientation().map_err(unreadable)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    picture.apply_orientation(orientation);
    encode(kind, &picture)
}

fn encode(kind: Kind, picture: &DynamicImage) -> Result<Vec<u8>, Refusal> {
    let mut out = Bounded(Vec::new());
    let grey = matches!(picture, DynamicImage::ImageLuma8(_) | DynamicImage::ImageLuma16(_));
    let encoded = match (kind, grey) {
        (Kind::Jpeg, true) => JpegEncoder::new_with_quality(&mut out, JPEG_QUALITY).encode_image(&picture.to_luma8()),
        (Kind::Jpeg, false) => JpegEncoder::new_with_quality(&mut out, JPEG_QUALITY).encode_image(&picture.to_rgb8()),
        _ => {
            let plain = if grey {
                DynamicImage::ImageLuma8(picture.to_luma8())
            } else if picture.color().has_alpha() {
                DynamicImage::ImageRgba8(picture.to_rgba8())
            } else {
                DynamicImage::ImageRgb8(picture.to_rgb8())
            };
            let (width, height, colour) = (plain.width(), plain.height(), plain.color());
            PngEncoder::new(&mut out).write_image(plain.as_bytes(), width, height, colour.into())
        }
    };
    match encoded {
        Ok(()) => Ok(out.0),
        Err(_) => Err(Refusal::Pixels { width: picture.width(), height: picture.height() }),
    }
}

fn unreadable(error: ImageError) -> Refusal {
    match error {
        ImageError::Limits(_) => Refusal::Pixels { width: 0, height: 0 },
        _ => Refusal::Unreadable("the picture cannot be read: it is damaged or cut off".into()),
    }
}

/// Whether a JPEG has its end: the decoder would fill in what is missing with grey.
fn jpeg_has_end(content: &[u8]) -> bool {
    let mut at = 2;
    // Segments with a length, until the first scan; behind it 0xFF is always followed by 0 or a marker.
    while let (Some(&[0xff, marker]), Some(&[high, low])) = (
        content.get(at..).and_then(|rest| rest.first_chunk::<2>()),
        content.get(at + 2..).and_then(|rest| rest.first_chunk::<2>()),
    ) {
        if marker == 0xda {
            return content[at..].windows(2).any(|pair| pair == [0xff, 0xd9]);
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
    false
}

/// Takes what is written up to a limit: a picture of noise grows when it is drawn anew.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, part: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + part.len() > 2 * MAX_FILE {
            return Err(std::io::Error::other("the picture grows too large"));
        }
        self.0.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

//! The letters of pictures. Drawn into pixels they must come from somewhere, and the machine may have
//! none; an SVG's reader has its own, and takes from these only how wide a text is.

use std::sync::Once;

use plotters::style::{FontStyle, register_font};

/// DejaVu Sans, the Latin letters; its licence is beside it.
const DEJAVU: &[u8] = include_bytes!("font/DejaVuSans-Latin.ttf");

/// What a picture's texts are set in. Whoever draws asks here first, and so nobody finds it missing.
pub(super) fn sans_serif() -> &'static str {
    const NAME: &str = "sans-serif";
    static KNOWN: Once = Once::new();
    KNOWN.call_once(|| {
        // The bytes are the program's own, and a test draws with them: they are a font.
        let registered = register_font(NAME, FontStyle::Normal, DEJAVU);
        assert!(registered.is_ok(), "the program's own font cannot be read");
    });
    NAME
}

//! METEOR's tables, read from an installed pycocoevalcap: `meteor-1.5.jar`, which holds the function words
//! and WordNet's synonyms, and `data/paraphrase-en.gz`.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::{DeflateDecoder, GzDecoder};

use crate::files::{TOKENIZER_LIMIT, open_regular, read_bounded};
use crate::{Error, Result};

const JAR: &str = "meteor-1.5.jar";
const PARAPHRASES: &str = "data/paraphrase-en.gz";
/// Limit of a table's length in bytes: over ten times that of the longest table in the jar.
const LONGEST_TABLE: u64 = 64 << 20;
/// Limit of a line of the paraphrase table in bytes: over ten times that of the longest line.
const LONGEST_LINE: u64 = 64 << 10;

/// Endings of inflected forms, and the endings of their base forms in WordNet.
const ENDINGS: [(&str, &str); 20] = [
    ("s", ""),
    ("ses", "s"),
    ("xes", "x"),
    ("zes", "z"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("men", "man"),
    ("ies", "y"),
    ("s", ""),
    ("ies", "y"),
    ("es", "e"),
    ("es", ""),
    ("ed", "e"),
    ("ed", ""),
    ("ing", "e"),
    ("ing", ""),
    ("er", ""),
    ("est", ""),
    ("er", "e"),
    ("est", "e"),
];

/// The tables of METEOR 1.5 for English.
#[derive(Debug)]
pub struct MeteorData {
    functional: HashSet<String>,
    /// The sets of synonyms that a word is in.
    synsets: HashMap<String, Vec<u32>>,
    /// The base forms of irregular forms.
    bases: HashMap<String, Vec<String>>,
    paraphrases: PathBuf,
}

impl MeteorData {
    /// Opens the tables in `dir`: the directory of pycocoevalcap, or the directory `meteor` in it.
    ///
    /// # Errors
    ///
    /// If a table is missing or malformed.
    pub fn open(dir: &Path) -> Result<Self> {
        let inner = dir.join("meteor");
        let dir = if inner.join(JAR).exists() { &inner } else { dir };
        let jar = Jar::open(dir.join(JAR))?;
        let functional = jar.table("function/english.words")?.lines().map(str::to_owned).collect();
        let mut synsets = HashMap::new();
        jar.pairs("synonym/english.synsets", |word, sets| {
            let sets: Result<Vec<u32>, _> = sets.split_ascii_whitespace().map(str::parse).collect();
            synsets.insert(word.to_owned(), sets.ok()?);
            Some(())
        })?;
        let mut bases: HashMap<String, Vec<String>> = HashMap::new();
        jar.pairs("synonym/english.exceptions", |base, forms| {
            for form in forms.split_ascii_whitespace() {
                bases.entry(form.to_owned()).or_default().push(base.to_owned());
            }
            Some(())
        })?;
        let paraphrases = dir.join(PARAPHRASES);
        open_regular(&paraphrases)?;
        Ok(Self { functional, synsets, bases, paraphrases })
    }

    pub(super) fn is_functional(&self, word: &str) -> bool {
        self.functional.contains(word)
    }

    /// The sets of synonyms that contain a word or its base form.
    pub(super) fn senses(&self, word: &str) -> BTreeSet<u32> {
        let sets = |word: &str| self.synsets.get(word).into_iter().flatten().copied();
        let mut senses: BTreeSet<u32> = sets(word).collect();
        match self.bases.get(word) {
            Some(bases) => senses.extend(bases.iter().flat_map(|base| sets(base))),
            None => senses.extend(self.base_form(word).iter().flat_map(|base| sets(base))),
        }
        senses
    }

    /// The base form of a regular form: the first candidate that is in WordNet.
    fn base_form(&self, word: &str) -> Option<String> {
        if word.ends_with("ss") || word.encode_utf16().count() <= 2 {
            return None;
        }
        let bases = ENDINGS
            .iter()
            .filter_map(|(ending, instead)| Some(word.strip_suffix(ending)?.to_owned() + instead));
        bases.into_iter().find(|base| self.synsets.contains_key(base))
    }

    /// Calls `each` with every phrase made of `words` alone and its paraphrase.
    pub(super) fn paraphrases(
        &self,
        words: &HashMap<&str, u32>,
        mut each: impl FnMut(Vec<u32>, Vec<u32>),
    ) -> Result<()> {
        let path = &self.paraphrases;
        let at = |e| Error::io(path, &e);
        let file = open_regular(path)?;
        let mut lines = BufReader::new(GzDecoder::new(BufReader::new(file)));
        let numbers = |line: &str| -> Option<Vec<u32>> {
            line.split_ascii_whitespace().map(|word| words.get(word).copied()).collect()
        };
        let mut read = |line: &mut String| -> Result<bool> {
            line.clear();
            let n = lines.by_ref().take(LONGEST_LINE).read_line(line).map_err(at)?;
            if n as u64 == LONGEST_LINE {
                return Err(Error::invalid(path.display(), "a line is too long")
                    .with_remedy("install pycocoevalcap 1.2 again"));
            }
            Ok(n > 0)
        };
        let [mut likelihood, mut phrase, mut other] = [const { String::new() }; 3];
        while read(&mut likelihood)? {
            if !read(&mut phrase)? || !read(&mut other)? {
                return Err(Error::invalid(path.display(), "the file is cut short")
                    .with_remedy("install pycocoevalcap 1.2 again"));
            }
            if let Some((phrase, other)) = numbers(&phrase).zip(numbers(&other)) {
                each(phrase, other);
            }
        }
        Ok(())
    }
}

/// A jar, which is a zip archive.
struct Jar {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Jar {
    fn open(path: PathBuf) -> Result<Self> {
        let bytes = read_bounded(&path, TOKENIZER_LIMIT).map_err(|e| {
            e.with_remedy(
                "give the directory of an installed pycocoevalcap 1.2, or the one with \
                       meteor-1.5.jar and data/",
            )
        })?;
        Ok(Self { path, bytes })
    }

    fn table(&self, name: &str) -> Result<String> {
        let place = || format!("{}, {name}", self.path.display());
        let wrong = |cause: String| Error::invalid(place(), cause);
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(&self.bytes))
            .map_err(|e| wrong(e.to_string()))?;
        let index = archive
            .index_for_name(name)
            .ok_or_else(|| wrong("the table is missing from the archive".into()))?;
        // The raw bytes: the zip reader is built without codecs.
        let stored = archive.by_index_raw(index).map_err(|e| wrong(e.to_string()))?;
        let inflated = DeflateDecoder::new(BufReader::new(stored));
        let mut text = String::new();
        inflated.take(LONGEST_TABLE).read_to_string(&mut text).map_err(|e| wrong(e.to_string()))?;
        Ok(text)
    }

    /// Calls `each` with every two lines of a table. An error if it returns none.
    fn pairs(&self, name: &str, mut each: impl FnMut(&str, &str) -> Option<()>) -> Result<()> {
        let text = self.table(name)?;
        let mut lines = text.lines();
        while let Some(first) = lines.next() {
            lines.next().and_then(|second| each(first, second)).ok_or_else(|| {
                Error::invalid(
                    format!("{}, {name}", self.path.display()),
                    "a line is missing or malformed",
                )
            })?;
        }
        Ok(())
    }
}

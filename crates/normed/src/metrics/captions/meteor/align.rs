//! Which words of a text stand for which of a reference: METEOR 1.5's matchers, and its search for
//! the alignment with the most matches, the fewest chunks and the least crossing (Denkowski & Lavie
//! 2014, section 2.1), by a beam, with the program's rounding and ties.

use std::cmp::Reverse;

use super::lexicon::Lexicon;

/// Paths that are followed at a time.
const BEAM: usize = 40;

/// The matchers, in the order in which they run, and what a match of each is worth.
pub(super) const WEIGHTS: [f64; 4] = [1.0, 0.6, 0.8, 0.6];
const EXACT: usize = 0;
const STEM: usize = 1;
const SYNONYM: usize = 2;
const PARAPHRASE: usize = 3;

/// Of a pair: the text that is scored, and the reference.
const TEXT: usize = 0;
const REFERENCE: usize = 1;

/// Words of the text that stand for words of the reference: where they start, and how many they are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Match {
    pub matcher: usize,
    pub start: [usize; 2],
    pub len: [usize; 2],
}

impl Match {
    fn of_words(matcher: usize, text: usize, reference: usize) -> Self {
        Self { matcher, start: [text, reference], len: [1, 1] }
    }

    pub fn words(&self, side: usize) -> std::ops::Range<usize> {
        self.start[side]..self.start[side] + self.len[side]
    }

    fn end(&self, side: usize) -> usize {
        self.start[side] + self.len[side]
    }
}

/// The best alignment of `text` and `reference`, in the order of the reference.
pub(super) fn align(lexicon: &Lexicon, text: &[u32], reference: &[u32]) -> Vec<Match> {
    let found = Found::new(lexicon, text, reference);
    found.best().matches.into_iter().flatten().collect()
}

/// Runs of words that stand in the same order on both sides.
pub(super) fn chunks(matches: &[Match]) -> usize {
    let follows =
        |pair: &&[Match]| [TEXT, REFERENCE].iter().all(|&s| pair[0].end(s) == pair[1].start[s]);
    matches.len() - matches.windows(2).filter(follows).count()
}

/// All matches that there are.
struct Found {
    /// By the word of the reference that they start at, in the order in which they were found.
    at: Vec<Vec<Match>>,
    /// How many matches each word is part of.
    coverage: [Vec<u32>; 2],
}

impl Found {
    fn new(lexicon: &Lexicon, text: &[u32], reference: &[u32]) -> Self {
        let mut found = Self {
            at: vec![Vec::new(); reference.len()],
            coverage: [vec![0; text.len()], vec![0; reference.len()]],
        };
        found.pairs(EXACT, text, reference, |a, b| a == b);
        if text != reference {
            let stem = |a, b| lexicon.stem(a) == lexicon.stem(b);
            found.pairs(STEM, text, reference, |a, b| a != b && stem(a, b));
            found.pairs(SYNONYM, text, reference, |a, b| a != b && lexicon.are_synonyms(a, b));
            found.paraphrases(lexicon, [text, reference], TEXT);
            found.paraphrases(lexicon, [text, reference], REFERENCE);
        }
        found
    }

    fn pairs(
        &mut self,
        matcher: usize,
        text: &[u32],
        reference: &[u32],
        same: impl Fn(u32, u32) -> bool,
    ) {
        for (j, &b) in reference.iter().enumerate() {
            for (i, &a) in text.iter().enumerate() {
                if same(a, b) {
                    self.add(Match::of_words(matcher, i, j));
                }
            }
        }
    }

    /// Phrases of the other side that a phrase of the table can be said by on this one.
    fn paraphrases(&mut self, lexicon: &Lexicon, words: [&[u32]; 2], side: usize) {
        let other = 1 - side;
        for from in 0..words[other].len() {
            for (len, phrase) in lexicon.paraphrases(&words[other][from..]) {
                for at in 0..words[side].len() {
                    if words[side][at..].starts_with(phrase) {
                        let mut found =
                            Match { matcher: PARAPHRASE, start: [at; 2], len: [phrase.len(); 2] };
                        (found.start[other], found.len[other]) = (from, len);
                        self.add(found);
                    }
                }
            }
        }
    }

    fn add(&mut self, found: Match) {
        self.at[found.start[REFERENCE]].push(found);
        for side in [TEXT, REFERENCE] {
            self.coverage[side][found.words(side)].iter_mut().for_each(|n| *n += 1);
        }
    }

    /// What no other match competes with is part of every alignment.
    fn undisputed(&self) -> Path {
        let mut path = Path {
            matches: vec![None; self.at.len()],
            used: [TEXT, REFERENCE].map(|side| vec![false; self.coverage[side].len()]),
            ..Path::default()
        };
        for only in self.at.iter().filter_map(|found| match found[..] {
            [only] => Some(only),
            _ => None,
        }) {
            let alone = |side: usize| self.coverage[side][only.words(side)].iter().all(|&n| n == 1);
            if alone(TEXT) && alone(REFERENCE) {
                path.take(only);
            }
        }
        path
    }

    fn best(&self) -> Path {
        let mut paths = vec![self.undisputed()];
        for at in 0..self.at.len() {
            let mut next = Vec::new();
            let mut stuck = None;
            paths.sort_by_key(Path::rank);
            for mut path in paths.into_iter().take(BEAM) {
                if path.used[REFERENCE][at] {
                    if at < path.next {
                        next.push(path); // within a match
                    } else if let Some(found) = path.matches[path.next] {
                        path.count(&found);
                        path.crossing += found.start[TEXT].abs_diff(found.start[REFERENCE]);
                        next.push(path);
                    } else {
                        stuck.get_or_insert(path);
                    }
                    continue;
                }
                for found in &self.at[at] {
                    if path.is_free(found) {
                        let mut with = path.clone();
                        with.take(*found);
                        with.count(found);
                        next.push(with);
                        // The program counts the crossing for those that go without.
                        path.crossing += found.start[TEXT].abs_diff(found.start[REFERENCE]);
                    }
                }
                path.close_chunk();
                path.next += 1;
                next.push(path);
            }
            if next.is_empty() {
                next.extend(stuck);
            }
            paths = next;
        }
        // Of the paths that the beam holds; the first is kept where nothing tells them apart.
        paths.sort_by_key(Path::rank);
        paths.truncate(BEAM);
        paths.iter_mut().for_each(Path::close_chunk);
        paths.into_iter().min_by_key(Path::rank).unwrap_or_default()
    }
}

/// An alignment of the first words of the reference.
#[derive(Clone, Default)]
struct Path {
    matches: Vec<Option<Match>>,
    used: [Vec<bool>; 2],
    /// The word of the reference that comes next.
    next: usize,
    /// Where the open chunk ends in the text.
    open: Option<usize>,
    /// Words matched, in whole numbers: a lighter match of one word adds nothing.
    weight: [usize; 2],
    chunks: usize,
    crossing: usize,
}

impl Path {
    /// The less, the better.
    fn rank(&self) -> (Reverse<usize>, usize, usize) {
        (Reverse(self.weight[TEXT] + self.weight[REFERENCE]), self.chunks, self.crossing)
    }

    fn is_free(&self, found: &Match) -> bool {
        [TEXT, REFERENCE].iter().all(|&side| !self.used[side][found.words(side)].contains(&true))
    }

    fn take(&mut self, found: Match) {
        self.matches[found.start[REFERENCE]] = Some(found);
        for side in [TEXT, REFERENCE] {
            self.used[side][found.words(side)].fill(true);
        }
    }

    fn count(&mut self, found: &Match) {
        for side in [TEXT, REFERENCE] {
            let more = found.len[side] as f64 * WEIGHTS[found.matcher];
            self.weight[side] = (self.weight[side] as f64 + more) as usize;
        }
        if self.open.is_some_and(|open| open != found.start[TEXT]) {
            self.chunks += 1;
        }
        self.open = Some(found.end(TEXT));
        self.next = found.end(REFERENCE);
    }

    fn close_chunk(&mut self) {
        self.chunks += usize::from(self.open.take().is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aligned(text: &[u32], reference: &[u32]) -> Vec<(usize, usize)> {
        let lexicon = Lexicon::plain((0..10).map(|i| format!("w{i}q")).collect());
        let matches = align(&lexicon, text, reference);
        matches.iter().map(|m| (m.start[TEXT], m.start[REFERENCE])).collect()
    }

    #[test]
    fn one_chunk_is_better_than_two() {
        assert_eq!(aligned(&[1, 5, 1, 2, 3], &[1, 2, 3]), [(2, 0), (3, 1), (4, 2)]);
        assert_eq!(aligned(&[1, 1, 1], &[1]), [(0, 0)]);
        assert_eq!(aligned(&[], &[1]), []);
    }

    #[test]
    fn a_chunk_goes_on_where_both_sides_do() {
        let of = |pairs: &[(usize, usize)]| {
            let pairs = pairs.iter().map(|&(i, j)| Match::of_words(EXACT, i, j));
            chunks(&pairs.collect::<Vec<_>>())
        };
        assert_eq!([of(&[]), of(&[(0, 0)]), of(&[(0, 0), (1, 1)])], [0, 1, 1]);
        assert_eq!([of(&[(0, 0), (1, 2)]), of(&[(1, 0), (0, 1)])], [2, 2]);
    }
}

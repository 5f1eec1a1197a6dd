//! The alignment of a text with a reference: METEOR 1.5's matchers, and its beam search for the alignment
//! with the most matches, the fewest chunks and the least crossing (Denkowski & Lavie 2014, section 2.1).
//! Rounding and ties follow the program.

use std::cmp::Reverse;

use super::lexicon::Lexicon;

/// Beam width of the search.
const BEAM: usize = 40;

/// The weights of the matchers, in the order in which they run.
pub(super) const WEIGHTS: [f64; 4] = [1.0, 0.6, 0.8, 0.6];
const EXACT: usize = 0;
const STEM: usize = 1;
const SYNONYM: usize = 2;
const PARAPHRASE: usize = 3;

// Indices of arrays with a value for the text and one for the reference.
const TEXT: usize = 0;
const REFERENCE: usize = 1;

/// A match: words of the text and words of the reference, each as a start and a length.
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

/// Finds the best alignment of `text` and `reference`; its matches are in the order of the reference.
pub(super) fn align(lexicon: &Lexicon, text: &[u32], reference: &[u32]) -> Vec<Match> {
    let candidates = Candidates::new(lexicon, text, reference);
    candidates.search().matches.into_iter().flatten().collect()
}

/// The number of chunks: maximal runs of matches that are adjacent on both sides.
pub(super) fn count_chunks(matches: &[Match]) -> usize {
    let follows =
        |pair: &&[Match]| [TEXT, REFERENCE].iter().all(|&s| pair[0].end(s) == pair[1].start[s]);
    matches.len() - matches.windows(2).filter(follows).count()
}

/// All possible matches.
struct Candidates {
    /// The matches that start at each word of the reference, in the order in which they were found.
    at: Vec<Vec<Match>>,
    /// The number of matches that contain each word.
    coverage: [Vec<u32>; 2],
}

impl Candidates {
    fn new(lexicon: &Lexicon, text: &[u32], reference: &[u32]) -> Self {
        let mut found = Self {
            at: vec![Vec::new(); reference.len()],
            coverage: [vec![0; text.len()], vec![0; reference.len()]],
        };
        found.match_words(EXACT, text, reference, |a, b| a == b);
        if text != reference {
            let stem = |a, b| lexicon.stem(a) == lexicon.stem(b);
            found.match_words(STEM, text, reference, |a, b| a != b && stem(a, b));
            found
                .match_words(SYNONYM, text, reference, |a, b| a != b && lexicon.are_synonyms(a, b));
            found.match_paraphrases(lexicon, [text, reference], TEXT);
            found.match_paraphrases(lexicon, [text, reference], REFERENCE);
        }
        found
    }

    fn match_words(
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

    /// Adds the phrases of the other side whose paraphrase occurs on this side.
    fn match_paraphrases(&mut self, lexicon: &Lexicon, words: [&[u32]; 2], side: usize) {
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

    /// The path with the matches that conflict with no other match: they are part of every alignment.
    fn unambiguous(&self) -> Path {
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

    /// Beam search, word by word of the reference.
    fn search(&self) -> Path {
        let mut paths = vec![self.unambiguous()];
        for at in 0..self.at.len() {
            let mut next = Vec::new();
            let mut stuck = None;
            paths.sort_by_key(Path::rank);
            for mut path in paths.into_iter().take(BEAM) {
                if path.used[REFERENCE][at] {
                    if at < path.next {
                        next.push(path); // inside a match
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
                        // As in the program, the crossing is added to the path without this match.
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
        // Only the paths inside the beam; of equal ones the first.
        paths.sort_by_key(Path::rank);
        paths.truncate(BEAM);
        paths.iter_mut().for_each(Path::close_chunk);
        paths.into_iter().min_by_key(Path::rank).unwrap_or_default()
    }
}

/// A partial alignment: of the first words of the reference.
#[derive(Clone, Default)]
struct Path {
    matches: Vec<Option<Match>>,
    used: [Vec<bool>; 2],
    /// The next word of the reference.
    next: usize,
    /// The end of the open chunk in the text.
    open: Option<usize>,
    /// Weighted number of matched words, rounded down at every match: a match of one word with a weight
    /// below 1 adds nothing.
    weight: [usize; 2],
    chunks: usize,
    crossing: usize,
}

impl Path {
    /// Sort key; lower is better.
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
    fn a_chunk_continues_where_both_sides_do() {
        let of = |pairs: &[(usize, usize)]| {
            let pairs = pairs.iter().map(|&(i, j)| Match::of_words(EXACT, i, j));
            count_chunks(&pairs.collect::<Vec<_>>())
        };
        assert_eq!([of(&[]), of(&[(0, 0)]), of(&[(0, 0), (1, 1)])], [0, 1, 1]);
        assert_eq!([of(&[(0, 0), (1, 2)]), of(&[(1, 0), (0, 1)])], [2, 2]);
    }
}

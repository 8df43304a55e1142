//! "Did you mean": the known word that is nearest to a misspelt one.

/// The candidate that `word` most likely is a misspelling of, if one is near.
///
/// Case, and a hyphen for an underscore, do not count. One edit (a letter put in, left out, changed or swapped with the
/// next) in three letters does; in a shorter word, every other would be as near.
pub fn closest<'a, S: AsRef<str> + ?Sized + 'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a S>,
) -> Option<&'a str> {
    let word = folded(word);
    let near = |candidate: &'a str| {
        let folded = folded(candidate);
        let limit = word.len().max(folded.len()) / 3;
        let distance = distance(&word, &folded);
        (distance <= limit).then_some((distance, candidate))
    };
    candidates
        .into_iter()
        .filter_map(|candidate| near(candidate.as_ref()))
        .min_by_key(|near| near.0)
        .map(|near| near.1)
}

fn folded(word: &str) -> Vec<char> {
    word.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// The optimal string alignment distance.
fn distance(a: &[char], b: &[char]) -> usize {
    // Three rows of the matrix: the one before the previous, the previous, and the current.
    let mut before = vec![0; b.len() + 1];
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut current = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = previous[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            current[j] = change.min(previous[j] + 1).min(current[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                current[j] = current[j].min(before[j - 2] + 1);
            }
        }
        before = previous;
        previous = current;
    }
    previous[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: [&str; 6] = ["nodes", "topology", "family", "timeout", "run_in", "web-server"];

    #[test]
    fn misspellings_are_recognised() {
        for (word, meant) in [
            ("node", "nodes"),
            ("noeds", "nodes"),
            ("Nodes", "nodes"),
            ("toplogy", "topology"),
            ("time_out", "timeout"),
            ("runin", "run_in"),
            ("web_server", "web-server"),
            ("famili", "family"),
        ] {
            assert_eq!(closest(word, &WORDS), Some(meant), "{word}");
        }
    }

    #[test]
    fn other_words_are_not() {
        for word in ["", "x", "kubernetes", "links", "nothing"] {
            assert_eq!(closest(word, &WORDS), None, "{word}");
        }
        assert_eq!(closest("x", &["y"]), None);
        assert_eq!(closest("v5", &["v4", "v6"]), None);
    }

    #[test]
    fn the_nearest_of_several_wins() {
        assert_eq!(closest("servr", &["serve", "server", "sever"]), Some("serve"));
        assert_eq!(closest("server2", &["server1", "server2"]), Some("server2"));
    }
}

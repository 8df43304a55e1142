//! Random graphs are read from tokens as they were written, and refused in the model's words.

use netns_test_model::Topology;
use proc_macro2::TokenStream;

use crate::args;
use crate::diag::Diag;
use crate::drawn::Drawn;
use crate::graph;

/// How many graphs are drawn.
const COUNT: u64 = 400;

#[test]
fn random_graphs_are_read_as_written_and_refused_in_the_models_words() {
    let mut refused = 0;
    for seed in 0..COUNT {
        let drawn = Drawn::of(seed);
        let text = drawn.attribute();
        let which = format!("graph {seed}: #[netns_test({text})]");
        let mut diag = Diag::default();
        let args = args::parse(text.parse::<TokenStream>().expect("tokens"), &mut diag);
        assert_eq!(args.graph.graph, drawn.graph, "{which}");
        assert_eq!(args.family, Some(drawn.family), "{which}");
        graph::check(&args, &[], drawn.family, &mut diag);
        let told: Vec<String> = match diag.finish(()) {
            Ok(()) => Vec::new(),
            Err(errors) => errors.into_iter().map(|error| error.to_string()).collect(),
        };
        let of_model =
            Topology::of_graph(drawn.graph.clone(), drawn.family).check().err().unwrap_or_default();
        let of_model: Vec<String> = of_model.iter().map(ToString::to_string).collect();
        assert_eq!(told, of_model, "{which}");
        for mistake in &drawn.mistakes {
            assert!(
                told.iter().any(|told| told.contains(mistake)),
                "`{mistake}` is not in {told:?}\n{which}"
            );
        }
        if drawn.mistakes.is_empty() && drawn.graph.routers.is_empty() {
            assert_eq!(told, [] as [&str; 0], "{which}");
        }
        refused += u64::from(!told.is_empty());
    }
    assert!((COUNT / 10..COUNT * 9 / 10).contains(&refused), "{refused} of {COUNT} are refused");
}

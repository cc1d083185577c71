//! Which experts a token goes to, by its scores.

/// Added to the sum that weights are divided by, as the models do, so that weights of zero stay zero.
pub(crate) const NO_WEIGHT: f32 = 1e-20;

/// How scores are computed, and experts chosen by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// DeepSeek-V3 (`noaux_tc`): sigmoids. A correction is added for the choice, but not for the weight. A group of
    /// experts is ranked by the sum of its two best.
    Corrected,
    /// DeepSeek-V2-Lite: softmax.
    Greedy,
    /// DeepSeek-V2: softmax. A group is ranked by its best expert.
    GroupLimited,
}

/// The choice of experts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Routing {
    pub(crate) method: Method,
    pub(crate) groups: usize,
    /// Groups whose experts can be chosen.
    pub(crate) best_groups: usize,
    pub(crate) chosen: usize,
    /// Whether weights are normalised to a sum of one before they are scaled.
    pub(crate) normalize: bool,
    pub(crate) scale: f32,
}

impl Routing {
    /// The experts chosen for a token and their weights. `correction` has a value for each score, or none.
    pub(crate) fn choose(&self, scores: &[f32], correction: &[f32]) -> Vec<(usize, f32)> {
        let mut merits = scores.to_vec();
        for (merit, correction) in merits.iter_mut().zip(correction) {
            *merit += correction;
        }
        let size = scores.len() / self.groups;
        let merit_of_group: Vec<f32> = merits.chunks(size).map(|of| self.merit(of)).collect();
        let experts: Vec<usize> = best(&merit_of_group, 0..self.groups, self.best_groups)
            .into_iter()
            .flat_map(|group| group * size..(group + 1) * size)
            .collect();
        let chosen = best(&merits, experts, self.chosen);
        let sum: f32 = if self.normalize {
            chosen.iter().map(|&expert| scores[expert]).sum::<f32>() + NO_WEIGHT
        } else {
            1.0
        };
        let weight = |expert: usize| scores[expert] / sum * self.scale;
        chosen
            .into_iter()
            .map(|expert| (expert, weight(expert)))
            .collect()
    }

    /// The rank of a group of experts with these scores.
    fn merit(&self, group: &[f32]) -> f32 {
        let counted = if self.method == Method::Corrected {
            2
        } else {
            1
        };
        let experts = best(group, 0..group.len(), counted);
        experts.into_iter().map(|expert| group[expert]).sum()
    }
}

/// The `count` indices of `among` with the largest values; of equal ones, the first.
fn best(values: &[f32], among: impl IntoIterator<Item = usize>, count: usize) -> Vec<usize> {
    let mut indices: Vec<usize> = among.into_iter().collect();
    indices.sort_unstable_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
    indices.truncate(count);
    indices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routing(method: Method) -> Routing {
        Routing {
            method,
            groups: 2,
            best_groups: 1,
            chosen: 2,
            normalize: false,
            scale: 2.0,
        }
    }

    #[test]
    fn two_best_experts_make_a_group() {
        let scores = [0.8, 0.1, 0.5, 0.5];
        let corrected = routing(Method::Corrected).choose(&scores, &[0.0; 4]);
        assert_eq!(corrected, [(2, 1.0), (3, 1.0)]);
        let limited = routing(Method::GroupLimited).choose(&scores, &[]);
        assert_eq!(limited, [(0, 1.6), (1, 0.2)]);
    }

    #[test]
    fn a_correction_chooses_but_does_not_weigh() {
        let mut routing = routing(Method::Corrected);
        let scores = [0.25, 0.75, 0.5, 0.5];
        let chosen = routing.choose(&scores, &[0.9, 0.0, 0.0, 0.0]);
        assert_eq!(chosen, [(0, 0.5), (1, 1.5)]);
        routing.normalize = true;
        let chosen = routing.choose(&[0.25, 0.25, 0.0, 0.0], &[0.9, 0.0, 0.0, 0.0]);
        assert_eq!(chosen, [(0, 1.0), (1, 1.0)]);
    }
}

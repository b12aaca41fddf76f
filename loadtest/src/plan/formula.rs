//! Formulas that can be computed and shown: in words, and with their numbers put in.

use super::costs::{CostKind, Costs};
use crate::shown::number;

/// A formula.
#[derive(Clone, Debug)]
pub(super) enum Expression {
    /// A number with a name.
    Value(&'static str, f64),
    /// A measured cost.
    Cost(CostKind),
    /// All of them together. What is not known does not count.
    Sum(Vec<Self>),
    /// One times the other.
    Product(Vec<Self>),
    /// The first by each of the others.
    Quotient(Vec<Self>),
    /// The largest of them.
    Largest(Vec<Self>),
    /// The least of them.
    Least(Vec<Self>),
    /// Rounded up to a whole number.
    RoundUp(Box<Self>),
}

/// How tightly a formula binds; what binds less than its place needs stands in parentheses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Sum,
    Product,
    Whole,
}

impl Expression {
    /// Its value; `None`: it needs a cost that is not known.
    pub(super) fn value(&self, costs: &Costs) -> Option<f64> {
        let known = |parts: &[Self]| -> Vec<f64> {
            parts.iter().filter_map(|part| part.value(costs)).collect()
        };
        let all = |parts: &[Self]| -> Option<Vec<f64>> {
            parts.iter().map(|part| part.value(costs)).collect()
        };
        match self {
            Self::Value(_, value) => Some(*value),
            Self::Cost(kind) => Some(costs.get(*kind)?.value),
            Self::Sum(parts) => known(parts).into_iter().reduce(|sum, part| sum + part),
            Self::Product(parts) => Some(all(parts)?.into_iter().product()),
            Self::Quotient(parts) => all(parts)?.into_iter().reduce(|of, by| of / by),
            Self::Largest(parts) => known(parts).into_iter().reduce(f64::max),
            Self::Least(parts) => all(parts)?.into_iter().reduce(f64::min),
            // What a float makes a hair more than a whole number is that number.
            Self::RoundUp(part) => Some((part.value(costs)? - 1e-9).ceil()),
        }
    }

    /// In words: names of values and costs.
    pub(super) fn symbols(&self) -> String {
        self.show(&|leaf| match leaf {
            Self::Value(name, _) => (*name).to_owned(),
            Self::Cost(kind) => kind.name().to_owned(),
            _ => String::new(),
        })
    }

    /// With numbers in place of names; `?` for a cost that is not known.
    pub(super) fn numbers(&self, costs: &Costs) -> String {
        self.show(&|leaf| {
            let value = match leaf {
                Self::Value(_, value) => Some(*value),
                Self::Cost(kind) => costs.get(*kind).map(|cost| cost.value),
                _ => None,
            };
            value.map_or_else(|| "?".to_owned(), exact)
        })
    }

    /// Tells every value and cost in it.
    pub(super) fn leaves(&self, tell: &mut dyn FnMut(&Self)) {
        match self {
            Self::Value(..) | Self::Cost(_) => tell(self),
            Self::Sum(parts)
            | Self::Product(parts)
            | Self::Quotient(parts)
            | Self::Largest(parts)
            | Self::Least(parts) => parts.iter().for_each(|part| part.leaves(tell)),
            Self::RoundUp(part) => part.leaves(tell),
        }
    }

    const fn binding(&self) -> Binding {
        match self {
            Self::Sum(_) => Binding::Sum,
            Self::Product(_) | Self::Quotient(_) => Binding::Product,
            Self::Value(..)
            | Self::Cost(_)
            | Self::Largest(_)
            | Self::Least(_)
            | Self::RoundUp(_) => Binding::Whole,
        }
    }

    fn show(&self, leaf: &dyn Fn(&Self) -> String) -> String {
        let join = |parts: &[Self], sign: &str, needs: &dyn Fn(usize) -> Binding| {
            let shown = parts.iter().enumerate().map(|(index, part)| {
                let text = part.show(leaf);
                if part.binding() < needs(index) {
                    format!("({text})")
                } else {
                    text
                }
            });
            shown.collect::<Vec<_>>().join(sign)
        };
        let first_loose = |index: usize| match index {
            0 => Binding::Product,
            _ => Binding::Whole,
        };
        match self {
            Self::Value(..) | Self::Cost(_) => leaf(self),
            Self::Sum(parts) => join(parts, " + ", &|_| Binding::Sum),
            Self::Product(parts) => join(parts, " × ", &first_loose),
            Self::Quotient(parts) => join(parts, " ÷ ", &first_loose),
            Self::Largest(parts) => {
                format!("largest of ({})", join(parts, ", ", &|_| Binding::Sum))
            }
            Self::Least(parts) => format!("least of ({})", join(parts, ", ", &|_| Binding::Sum)),
            Self::RoundUp(part) => format!("rounded up ({})", part.show(leaf)),
        }
    }
}

/// A number as one must type it to get the same result: whole ones in full.
fn exact(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 1_000.0 {
        return number(value);
    }
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::{
        Expression::{Cost, Largest, Product, Quotient, RoundUp, Sum, Value},
        *,
    };

    fn costs() -> Costs {
        let mut costs = Costs::default();
        let cost = super::super::costs::Cost {
            value: 2.5,
            from: String::new(),
            date: String::new(),
            machine: String::new(),
            load: String::new(),
        };
        costs.set(CostKind::NodeCpuPerSend, cost);
        costs
    }

    #[test]
    fn a_formula_reads_as_it_computes() {
        let sends = || Value("sends", 2_000.0);
        let formula = RoundUp(Box::new(Quotient(vec![
            Sum(vec![
                Product(vec![sends(), Cost(CostKind::NodeCpuPerSend)]),
                Product(vec![
                    sends(),
                    Sum(vec![Value("two", 2.0), Value("half", 0.5)]),
                ]),
            ]),
            Value("thousand", 1_000.0),
            Value("share", 0.3),
        ])));
        assert_eq!(
            formula.symbols(),
            "rounded up ((sends × node_cpu_us_per_send + sends × (two + half)) ÷ thousand ÷ share)"
        );
        assert_eq!(
            formula.numbers(&costs()),
            "rounded up ((2,000 × 2.5 + 2,000 × (2 + 0.5)) ÷ 1,000 ÷ 0.3)"
        );
        assert_eq!(formula.value(&costs()), Some(34.0));
    }

    #[test]
    fn what_is_not_known_does_not_count_in_a_sum_and_spoils_a_product() {
        let unknown = || Cost(CostKind::NatsCpuPerMessage);
        let known = || Cost(CostKind::NodeCpuPerSend);
        assert_eq!(Sum(vec![known(), unknown()]).value(&costs()), Some(2.5));
        assert_eq!(Sum(vec![unknown(), unknown()]).value(&costs()), None);
        assert_eq!(Product(vec![known(), unknown()]).value(&costs()), None);
        assert_eq!(Largest(vec![unknown(), known()]).value(&costs()), Some(2.5));
        assert_eq!(
            Product(vec![known(), unknown()]).numbers(&costs()),
            "2.5 × ?"
        );
    }

    #[test]
    fn a_whole_number_is_not_rounded_up_past_itself() {
        let third = Quotient(vec![Value("three", 0.3), Value("tenth", 0.1)]);
        assert_eq!(RoundUp(Box::new(third)).value(&costs()), Some(3.0));
    }
}

//! x
use super::{cluster::Cluster, rule::Rule};
pub(crate) const LARGE: Cluster = Cluster {
    owners: 4,
    offsets: 4,
    in_flight_max: 4,
    rule: Rule::AsDesigned,
};
#[test]
fn probe() {
    use crate::{state::Broken, walk::*};
    for (rule, name) in Rule::ALL {
        let cluster = Cluster { rule, ..LARGE };
        let start = std::time::Instant::now();
        let mut n = 0;
        let mut steps = 0u64;
        let mut found = None;
        while n < 300_000 {
            let seed = seed_of(n);
            n += 1;
            let end = walk(&cluster, seed, |_| steps += 1);
            if end.broken != Broken::NOTHING { found = Some(seed); break; }
        }
        println!("{name}: {n} schedules {} steps {:?} found {:?}", steps, start.elapsed(), found);
        if let Some(seed) = found { println!("{}", Failure::of_seed(&cluster, seed).unwrap()); }
    }
}

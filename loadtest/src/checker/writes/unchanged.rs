//! Marks that were answered with: nothing had to change. Was it so?

use super::RoomJudge;
use crate::checker::{
    content::Kind,
    facts::{Mark, Unchanged},
    log::Folded,
    report::Verdict,
};

impl RoomJudge<'_> {
    /// At some head between what was known at the question and what there may have been at the
    /// answer, the message must have been as the operation wanted it.
    pub(super) fn unchanged(&mut self, told: &Unchanged) {
        if self.log.wrong {
            return;
        }
        let operations = self.operations;
        let operation = &operations[told.index];
        let Unchanged { user, mark, .. } = *told;
        let Mark { target, emoji } = mark;
        let reacted = |message: &Folded| {
            let users = message.reactions.get(&emoji);
            users.is_some_and(|users| users.contains(&user))
        };
        let wanted = |message: &Folded| match operation.change.kind {
            Kind::Edit => message.text.is_none() || message.text == operation.change.text,
            Kind::Delete => message.deleted,
            Kind::React => reacted(message),
            Kind::Unreact => !reacted(message),
            // These always have an offset.
            Kind::Open | Kind::NamedMessage | Kind::Message | Kind::Join | Kind::Leave => false,
        };
        let heads = (operation.floor, self.log.head_possible_at(operation.ended));
        if !self.log.stood(target, heads, wanted) {
            let what = format!(
                "told that message {target} was so already, and it was not at any head from {} to {}",
                heads.0, heads.1
            );
            self.at(Verdict::Lost, operation, what);
        }
    }
}

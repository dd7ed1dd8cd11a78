//! Values of an exchange that middleware, hooks and responders hand on to each other.

use std::{any::Any, fmt};

/// Values by their types, one of each: `req.context` and `resp.context`.
///
/// ```
/// use varvel_resource::Context;
///
/// struct User(&'static str);
///
/// let mut context = Context::default();
/// context.insert(User("ada"));
/// assert_eq!(context.get::<User>().unwrap().0, "ada");
/// ```
#[derive(Default)]
#[allow(clippy::box_collection, reason = "most calls have none, and heads are moved from hand to hand")]
pub struct Context(Option<Box<Vec<Box<dyn Any + Send + Sync>>>>);

impl Context {
    /// Keeps a value, and gives back the one of its type that was there.
    pub fn insert<T: Send + Sync + 'static>(&mut self, value: T) -> Option<T> {
        let before = self.remove();
        self.0.get_or_insert_default().push(Box::new(value));
        before
    }

    /// The value of this type.
    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.0.iter().flat_map(|values| values.iter()).find_map(|value| value.downcast_ref())
    }

    /// The value of this type, to be changed.
    pub fn get_mut<T: 'static>(&mut self) -> Option<&mut T> {
        self.0.iter_mut().flat_map(|values| values.iter_mut()).find_map(|value| value.downcast_mut())
    }

    /// Takes the value of this type out.
    pub fn remove<T: 'static>(&mut self) -> Option<T> {
        let values = self.0.as_mut()?;
        let at = values.iter().position(|value| value.is::<T>())?;
        let value: Box<dyn Any> = values.swap_remove(at);
        value.downcast().ok().map(|value| *value)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({} values)", self.0.as_ref().map_or(0, |values| values.len()))
    }
}

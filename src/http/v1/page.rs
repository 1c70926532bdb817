//! Lists in pages, as OpenAI's libraries go through them: by the id of the last thing that they have.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ids;
use crate::http::problem::Problem;

/// Things on a page when nobody says, and at most.
const USUAL: usize = 20;
const MOST: usize = 100;

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// The id of the last thing of the page before.
    after: Option<String>,
    /// The id of the first thing of the page behind.
    before: Option<String>,
    /// Things on the page: 20 when nobody says, 100 at most.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
    /// The latest first, or the oldest.
    #[serde(default)]
    #[param(inline)]
    order: Order,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ApiOrder)]
pub enum Order {
    Asc,
    #[default]
    Desc,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiPage)]
pub struct Page<T> {
    #[schema(pattern = "^list$")]
    object: &'static str,
    data: Vec<T>,
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
}

impl PageParams {
    /// The page of `all`, which is in its order, oldest first. `id`: what a thing is called.
    ///
    /// # Errors
    /// If it is to begin behind something that is not in the list, or `limit` is out of its range.
    pub fn of<T>(&self, mut all: Vec<T>, id: impl Fn(&T) -> String) -> Result<Page<T>, Problem> {
        let limit = self.limit.unwrap_or(USUAL);
        if !(1..=MOST).contains(&limit) {
            let detail = format!("`limit` must be from 1 to {MOST}");
            return Err(Problem::param("limit", "invalid_value", detail));
        }
        if self.order == Order::Desc {
            all.reverse();
        }
        let place = |param: &'static str, wanted: &str| {
            let uuid = ids::read(wanted);
            let found = all
                .iter()
                .position(|one| uuid.is_some() && ids::read(&id(one)) == uuid);
            found.ok_or_else(|| {
                let detail = format!("`{param}`: {:?} is not in this list", ids::quoted(wanted));
                Problem::param(param, "invalid_value", detail)
            })
        };
        let after = self.after.as_deref().map(|id| place("after", id));
        let before = self.before.as_deref().map(|id| place("before", id));
        let (from, to) = (
            after.transpose()?.map_or(0, |place| place + 1),
            before.transpose()?.unwrap_or(all.len()),
        );
        let to = to.max(from);
        // Before something means right before it.
        let from = if self.before.is_some() && self.after.is_none() {
            to.saturating_sub(limit)
        } else {
            from
        };
        let end = to.min(from + limit);
        let has_more = if self.before.is_some() && self.after.is_none() {
            from > 0
        } else {
            end < to
        };
        let data: Vec<T> = all.drain(from..end).collect();
        Ok(Page {
            object: "list",
            first_id: data.first().map(&id),
            last_id: data.last().map(&id),
            data,
            has_more,
        })
    }
}

/// Where a page is in its list.
#[derive(Debug)]
pub struct Place {
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
}

impl Place {
    /// The page of these.
    pub fn with<T>(self, data: Vec<T>) -> Page<T> {
        Page {
            object: "list",
            data,
            first_id: self.first_id,
            last_id: self.last_id,
            has_more: self.has_more,
        }
    }
}

impl<T> Page<T> {
    /// The things on it, and where they are: what is shown of them may have to be read first.
    pub fn into_parts(self) -> (Vec<T>, Place) {
        let place = Place {
            first_id: self.first_id,
            last_id: self.last_id,
            has_more: self.has_more,
        };
        (self.data, place)
    }

    /// A list that is all there.
    pub fn whole(data: Vec<T>, id: impl Fn(&T) -> String) -> Self {
        Self {
            object: "list",
            first_id: data.first().map(&id),
            last_id: data.last().map(&id),
            data,
            has_more: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn params(after: Option<&str>, limit: usize, order: Order) -> PageParams {
        PageParams {
            after: after.map(str::to_owned),
            before: None,
            limit: Some(limit),
            order,
        }
    }

    #[test]
    fn a_list_is_gone_through_to_its_end_in_either_order() {
        let all: Vec<String> = (0..7).map(|_| ids::write("msg", Uuid::now_v7())).collect();
        for order in [Order::Asc, Order::Desc] {
            let (mut seen, mut after) = (Vec::new(), None::<String>);
            loop {
                let page = params(after.as_deref(), 3, order).of(all.clone(), Clone::clone);
                let page = page.unwrap();
                assert_eq!(page.last_id, page.data.last().cloned());
                seen.extend(page.data);
                after = page.last_id;
                if !page.has_more {
                    break;
                }
            }
            if order == Order::Desc {
                seen.reverse();
            }
            assert_eq!(seen, all);
        }
    }

    #[test]
    fn what_stands_before_something_stands_right_before_it() {
        let all: Vec<String> = (0..7).map(|_| ids::write("msg", Uuid::now_v7())).collect();
        let before = |place: usize| PageParams {
            before: Some(all[place].clone()),
            ..params(None, 2, Order::Asc)
        };
        let page = before(5).of(all.clone(), Clone::clone).unwrap();
        assert_eq!((page.data.as_slice(), page.has_more), (&all[3..5], true));
        let page = before(1).of(all.clone(), Clone::clone).unwrap();
        assert_eq!((page.data.as_slice(), page.has_more), (&all[..1], false));
    }

    #[test]
    fn what_cannot_be_is_named() {
        let all = vec![ids::write("msg", Uuid::now_v7())];
        let unknown = params(Some("msg_nothing"), 3, Order::Asc);
        let problem = unknown.of(all.clone(), Clone::clone).unwrap_err();
        assert_eq!(problem.api.unwrap().param.as_deref(), Some("after"));
        let problem = params(None, 101, Order::Asc).of(all, Clone::clone);
        assert_eq!(
            problem.unwrap_err().api.unwrap().param.as_deref(),
            Some("limit")
        );
    }
}

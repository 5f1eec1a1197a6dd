//! The page of a report: one file without scripts and without requests.

use super::html::escape;

const STYLE: &str = include_str!("html_page.css");

/// Renders a page with these sections, each a heading and its HTML content.
pub fn render_page(name: &str, lead: &str, sections: &[(String, String)]) -> String {
    let links: String = sections
        .iter()
        .enumerate()
        .map(|(i, (heading, _))| format!("<a href=\"#s{i}\">{}</a>\n", escape(heading)))
        .collect();
    let body: String = sections
        .iter()
        .enumerate()
        .map(|(i, (heading, content))| {
            format!("<section id=\"s{i}\"><h2>{}</h2>\n{content}</section>\n", escape(heading))
        })
        .collect();
    let title = escape(name);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style></head>\n\
         <body><header><h1>{title}</h1>\n{lead}<nav>{links}</nav></header>\n<main>{body}</main>\n\
         </body></html>\n"
    )
}

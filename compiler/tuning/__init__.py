"""Search for better schedules by measuring, within a stated time: what the templates' analytic choices leave."""
